#include "base/hooks.hpp"

#include <chrono>

#include "whimbrel/errors.hpp"

namespace whimbrel {
namespace {

thread_local const Hooks* current = nullptr;

}  // namespace

UseHooks::UseHooks(const Hooks* hooks) noexcept : before_(current) { current = hooks; }
UseHooks::~UseHooks() { current = before_; }

const Hooks* current_hooks() noexcept { return current; }

bool can_stop() noexcept {
  return current != nullptr &&
         (current->stop || current->deadline != std::chrono::steady_clock::time_point::max());
}

void check_stop() {
  if (!can_stop()) return;
  if (current->stop && current->stop()) throw Cancelled();
  if (std::chrono::steady_clock::now() >= current->deadline) throw DeadlineExceeded();
}

}  // namespace whimbrel
