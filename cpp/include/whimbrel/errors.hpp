// What the library throws. Nothing is printed, logged or aborted.
//
//   std::invalid_argument  a shape, a value or a combination of arguments is wrong
//   std::out_of_range      an id does not exist
//   std::length_error      more rows than 31-bit node numbers can address
//   std::system_error      a file cannot be opened, written or read
//   std::bad_alloc         no memory
//   FormatError            a file or buffer is not a whimbrel file, is damaged, or is of an unknown version
//   Cancelled, DeadlineExceeded, MemoryLimitExceeded   the caller's hooks said so (hooks.hpp)
//
// Exceptions thrown by a caller's function pass through unchanged.
#pragma once

#include <cstddef>
#include <cstdio>
#include <new>
#include <stdexcept>

#include "whimbrel/export.h"

namespace whimbrel {

class WHIMBREL_API FormatError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class WHIMBREL_API Cancelled : public std::runtime_error {
 public:
  Cancelled() : std::runtime_error("call: expected to go on, got a request to stop") {}
};

class WHIMBREL_API DeadlineExceeded : public std::runtime_error {
 public:
  DeadlineExceeded() : std::runtime_error("call: expected to end by its deadline, got too much to do") {}
};

/// The account refused so many bytes.
class WHIMBREL_API MemoryLimitExceeded : public std::bad_alloc {
 public:
  explicit MemoryLimitExceeded(std::size_t bytes) noexcept {
    std::snprintf(what_, sizeof what_, "memory: expected room for %zu bytes, got none from the account",
                  bytes);
  }
  const char* what() const noexcept override { return what_; }

 private:
  char what_[96];
};

}  // namespace whimbrel
