// Files on disk: whole or not at all.
#pragma once

#include <functional>
#include <string>

#include "whimbrel/byte_io.hpp"

namespace whimbrel {

/// Replace or create the file `path` by what `write` pushes, in one step: at any moment, and after a crash,
/// `path` is the old file or the complete new one. The bytes go to a temporary file beside it, which needs
/// room for both; if anything fails, it is removed. A symbolic link is followed, permissions of an old file
/// are kept.
///
/// @throws std::system_error with errno and path, for example for a directory or a full disk; what `write`
/// throws
void write_file_atomically(const std::string& path, const std::function<void(const ByteSink&)>& write);

/// Call `read` with the bytes of the file `path`.
///
/// @throws std::system_error with errno and path; what `read` throws
void read_file(const std::string& path, const std::function<void(const ByteSource&)>& read);

}  // namespace whimbrel
