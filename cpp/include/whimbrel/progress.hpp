// Progress and cancellation of long calls.
#pragma once

#include <cstddef>
#include <functional>

namespace whimbrel {

/// Called from the thread that made the call, about ten times a second, with the units done and the total.
/// To cancel, throw: the exception reaches the caller after all workers stopped, and the object that was
/// being changed is as it was before the call.
using ProgressFn = std::function<void(std::size_t done, std::size_t total)>;

}  // namespace whimbrel
