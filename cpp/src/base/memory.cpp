#include "base/memory.hpp"

#include <algorithm>
#include <cstddef>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "base/hooks.hpp"
#include "whimbrel/errors.hpp"

namespace whimbrel {
namespace {

constexpr std::align_val_t kHeapAlignment{kCacheLine};

#if defined(__linux__)
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
#endif

}  // namespace

void PageDeleter::operator()(void* p) const noexcept {
#if defined(__linux__)
  if (mapped_bytes > 0) {
    munmap(p, mapped_bytes);
    return;
  }
#endif
  ::operator delete(p, kHeapAlignment);
}

Pages allocate_pages(std::size_t bytes, [[maybe_unused]] std::size_t huge_bytes) {
  if (bytes > SIZE_MAX / 2) throw std::bad_alloc();
#if defined(__linux__)
  if (bytes >= kHugePage) return map_pages(bytes, huge_bytes);
#endif
  return Pages(::operator new(bytes, kHeapAlignment));
}

Charge::Charge(std::size_t bytes) : bytes_(bytes) {
  const Hooks* hooks = current_hooks();
  if (hooks == nullptr || hooks->memory == nullptr || bytes == 0) return;
  if (!hooks->memory->reserve(bytes)) throw MemoryLimitExceeded(bytes);
  account_ = hooks->memory;
}

void Charges::resize(std::size_t bytes) {
  std::size_t now = 0;
  for (const Charge& part : parts_) now += part.bytes();
  while (now > bytes) {
    const std::size_t by = std::min(now - bytes, parts_.back().bytes());
    parts_.back().shrink(by);
    if (parts_.back().bytes() == 0) parts_.pop_back();
    now -= by;
  }
  if (now == bytes) return;
  parts_.reserve(parts_.size() + 1);
  Charge more(bytes - now);
  if (parts_.empty() || !parts_.back().absorb(more)) parts_.push_back(std::move(more));
}

namespace {

/// Before the bytes that the caller gets.
struct alignas(std::max_align_t) CountedHeader {
  Charge charge;
};

}  // namespace

void* allocate_counted(std::size_t bytes) {
  Charge charge(bytes);
  auto* header = new (::operator new(sizeof(CountedHeader) + bytes)) CountedHeader{std::move(charge)};
  return header + 1;
}

void free_counted(void* p) noexcept {
  auto* header = static_cast<CountedHeader*>(p) - 1;
  header->~CountedHeader();
  ::operator delete(header);
}

}  // namespace whimbrel
