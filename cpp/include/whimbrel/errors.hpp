// What the library throws. Nothing is printed, logged or aborted.
//
//   std::invalid_argument  a shape, a value or a combination of arguments is wrong
//   std::out_of_range      an id does not exist
//   std::length_error      more rows than 31-bit node numbers can address
//   std::system_error      a file cannot be opened, written or read
//   std::bad_alloc         no memory
//   FormatError            a file or buffer is not a whimbrel file, is damaged, or is of an unknown version
//
// Exceptions thrown by a caller's progress function pass through unchanged.
#pragma once

#include <stdexcept>

#include "whimbrel/export.h"

namespace whimbrel {

class WHIMBREL_API FormatError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace whimbrel
