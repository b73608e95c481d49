#include "base/memory.hpp"

#include <cstdlib>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace whimbrel {

#if defined(__linux__)
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;

/// From the system, at the boundary of a huge page. The heap would keep what is freed, and big arrays come
/// and go.
Pages map_pages(std::size_t bytes, std::size_t huge_bytes) {
  const std::size_t size = round_up(bytes, kHugePage);
  void* p = mmap(nullptr, size + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) throw std::bad_alloc();
  char* const begin = static_cast<char*>(p);
  const std::size_t before = (kHugePage - reinterpret_cast<std::uintptr_t>(p) % kHugePage) % kHugePage;
  if (before > 0) munmap(begin, before);
  munmap(begin + before + size, kHugePage - before);
  Pages pages(begin + before, PageDeleter{size});
  // Advice only: without huge pages everything works, slower.
  const std::size_t whole = std::min(bytes, huge_bytes) / kHugePage * kHugePage;
  if (whole > 0) madvise(pages.get(), whole, MADV_HUGEPAGE);
  return pages;
}

}  // namespace

void PageDeleter::operator()(void* p) const noexcept {
  if (mapped_bytes > 0)
    munmap(p, mapped_bytes);
  else
    std::free(p);
}
#else
void PageDeleter::operator()(void* p) const noexcept { std::free(p); }
#endif

Pages allocate_pages(std::size_t bytes, [[maybe_unused]] std::size_t huge_bytes) {
  if (bytes > SIZE_MAX / 2) throw std::bad_alloc();
#if defined(__linux__)
  if (bytes >= kHugePage) return map_pages(bytes, huge_bytes);
#endif
  Pages pages(std::aligned_alloc(kCacheLine, round_up(std::max<std::size_t>(bytes, 1), kCacheLine)));
  if (!pages) throw std::bad_alloc();
  return pages;
}

}  // namespace whimbrel
