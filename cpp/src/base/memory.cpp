#include "base/memory.hpp"

#include <cstdlib>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace whimbrel {

void PageDeleter::operator()(void* p) const noexcept { std::free(p); }

Pages allocate_pages(std::size_t bytes, bool huge) {
  constexpr std::size_t kHugePage = std::size_t{2} << 20;
  const std::size_t alignment = huge && bytes >= kHugePage ? kHugePage : kCacheLine;
  if (bytes > SIZE_MAX - alignment) throw std::bad_alloc();
  const std::size_t size = round_up(std::max<std::size_t>(bytes, 1), alignment);
  Pages pages(std::aligned_alloc(alignment, size));
  if (!pages) throw std::bad_alloc();
#if defined(__linux__)
  // Advice only: without huge pages everything works, slower. The end that does not fill a huge page stays
  // with small ones, or it would be resident whole.
  if (alignment == kHugePage) madvise(pages.get(), bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
#endif
  return pages;
}

}  // namespace whimbrel
