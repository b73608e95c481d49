// The hooks of the thread, as the library looks at them. Without hooks each of these is a look at one
// pointer.
#pragma once

#include "whimbrel/hooks.hpp"

namespace whimbrel {

/// Null if there are none.
const Hooks* current_hooks() noexcept;

/// Called where work may end without harm.
/// @throws Cancelled, DeadlineExceeded
void check_stop();

/// Whether the call can be stopped while it waits.
bool can_stop() noexcept;

/// `line` makes the text, if anybody wants it. What goes wrong is dropped: the work is done by then.
template <class Line>
void log_line(const Line& line) noexcept {
  try {
    if (const Hooks* hooks = current_hooks(); hooks != nullptr && hooks->log) hooks->log(line());
  } catch (...) {
  }
}

}  // namespace whimbrel
