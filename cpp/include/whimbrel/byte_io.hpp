// Where saved bytes go and loaded bytes come from: any stream, in order, without seeking.
#pragma once

#include <cstddef>
#include <functional>

namespace whimbrel {

/// Where saved bytes go. Called with consecutive pieces; may throw to stop.
using ByteSink = std::function<void(const void* data, std::size_t size)>;
/// Where loaded bytes come from. Returns how many bytes it wrote to `data`, 0 at the end; may throw.
using ByteSource = std::function<std::size_t(void* data, std::size_t size)>;

}  // namespace whimbrel
