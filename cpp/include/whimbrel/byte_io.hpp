// Where saved bytes go and loaded bytes come from: any stream, in order, without seeking.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <functional>
#include <span>

namespace whimbrel {

/// Where saved bytes go. Called with consecutive pieces; may throw to stop.
using ByteSink = std::function<void(const void* data, std::size_t size)>;
/// Where loaded bytes come from. Returns how many bytes it wrote to `data`, 0 at the end; may throw.
using ByteSource = std::function<std::size_t(void* data, std::size_t size)>;

/// Bytes in memory, which must outlive the source.
inline ByteSource bytes_source(std::span<const std::byte> bytes) {
  return [bytes](void* data, std::size_t size) mutable {
    const std::size_t n = std::min(size, bytes.size());
    if (n > 0) std::memcpy(data, bytes.data(), n);
    bytes = bytes.subspan(n);
    return n;
  };
}

}  // namespace whimbrel
