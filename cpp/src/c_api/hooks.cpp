// An engine's hooks in C: functions and what they are called with become those of hooks.hpp.
#include "whimbrel/hooks.hpp"

#include <chrono>
#include <memory>

#include "c_api/boundary.hpp"

using namespace whimbrel::c_api;

/// Counts its owner as one byte beside those on the account; who takes the last away deletes it.
struct wb_memory final : whimbrel::MemoryAccount {
  explicit wb_memory(std::size_t limit_) : limit(limit_) {}

  bool reserve(std::size_t bytes) noexcept override {
    std::size_t now = held.load(std::memory_order_relaxed);
    do {
      if (bytes > limit || now - 1 > limit - bytes) return false;
    } while (!held.compare_exchange_weak(now, now + bytes, std::memory_order_relaxed));
    return true;
  }
  void release(std::size_t bytes) noexcept override {
    if (held.fetch_sub(bytes, std::memory_order_acq_rel) == bytes) delete this;
  }

  const std::size_t limit;
  std::atomic<std::size_t> held{1};
};

namespace {

struct ThreadHooks {
  whimbrel::Hooks hooks;
  std::chrono::duration<double> timeout{0};
  int depth = 0;  // of calls under way, which may come from callbacks
};

thread_local std::unique_ptr<ThreadHooks> thread_hooks;

/// Longer ones cannot be told from none, and might overflow.
constexpr std::chrono::hours kLongest{24 * 365};

void run_task(void* argument) noexcept {
  const std::unique_ptr<std::function<void()>> task(static_cast<std::function<void()>*>(argument));
  (*task)();
}

std::unique_ptr<ThreadHooks> read_hooks(const wb_hooks& given) {
  if (!(given.timeout >= 0))
    throw std::invalid_argument("timeout: expected seconds, at least 0, got " +
                                std::to_string(given.timeout));
  auto read = std::make_unique<ThreadHooks>();
  read->timeout = std::chrono::duration<double>(given.timeout);
  whimbrel::Hooks& hooks = read->hooks;
  hooks.concurrency = given.concurrency;
  hooks.memory = given.memory;
  if (given.submit != nullptr)
    hooks.submit = [submit = given.submit, context = given.submit_context](std::function<void()> task) {
      auto owned = std::make_unique<std::function<void()>>(std::move(task));
      if (submit(context, run_task, owned.get()) != 0) throw CallbackFailed();
      // By now somebody else's, who may have deleted it.
      static_cast<void>(owned.release());
    };
  if (given.stop != nullptr)
    hooks.stop = [stop = given.stop, context = given.stop_context] { return stop(context) != 0; };
  if (given.log != nullptr)
    hooks.log = [log = given.log, context = given.log_context](std::string_view line) {
      log(context, std::string(line).c_str());
    };
  return read;
}

}  // namespace

namespace whimbrel::c_api {

CallHooks::CallHooks() noexcept {
  ThreadHooks* hooks = thread_hooks.get();
  if (hooks == nullptr) return;
  if (hooks->depth++ == 0 && hooks->timeout.count() > 0 && hooks->timeout < kLongest)
    hooks->hooks.deadline = std::chrono::steady_clock::now() +
                            std::chrono::duration_cast<std::chrono::steady_clock::duration>(hooks->timeout);
  use_.emplace(hooks->hooks);
}

CallHooks::~CallHooks() {
  if (use_) --thread_hooks->depth;
}

}  // namespace whimbrel::c_api

extern "C" {

wb_status wb_memory_create(size_t limit, wb_memory** memory) {
  return guarded([&] {
    required("memory", memory);
    *memory = new wb_memory(limit);
  });
}

void wb_memory_free(wb_memory* memory) {
  if (memory != nullptr) memory->release(1);
}

wb_status wb_memory_used(const wb_memory* memory, size_t* bytes) {
  return guarded([&] { required("bytes", bytes) = required("memory", memory).held - 1; });
}

wb_status wb_use_hooks(const wb_hooks* hooks) {
  try {
    if (thread_hooks != nullptr && thread_hooks->depth > 0)
      throw std::invalid_argument("hooks: expected no change during a call, got one from a callback");
    const wb_hooks given = read_options("wb_hooks", hooks);
    thread_hooks = hooks != nullptr ? read_hooks(given) : nullptr;
    return WB_OK;
  } catch (...) {
    return status_of_exception();
  }
}

}  // extern "C"
