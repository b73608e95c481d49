// Files of a test: a directory that goes with it, contents, errors.
#pragma once

#include <doctest/doctest.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <system_error>
#include <vector>

#include "base/file.hpp"
#include "base/file_io.hpp"

namespace whimbrel {

/// A directory of its own for each test.
struct Directory {
  Directory() {
    static std::atomic<int> counter = 0;
    do {
      path = std::filesystem::temp_directory_path() /
             ("whimbrel-" + std::to_string(process_number()) + "-" + std::to_string(counter++));
    } while (!std::filesystem::create_directory(path));
  }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  ~Directory() { std::filesystem::remove_all(path); }

  std::string file(const std::string& name) const { return path_string(path / native_path(name)); }
  std::vector<std::string> names() const {
    std::vector<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator(path))
      found.push_back(path_string(entry.path().filename()));
    return found;
  }

  std::filesystem::path path;
};

inline std::string content(const std::string& path) {
  std::ifstream in(native_path(path), std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline void save(const std::string& path, const std::string& bytes) {
  write_file_atomically(path, [&](const ByteSink& sink) { sink(bytes.data(), bytes.size()); });
}

/// errno of the system_error that fn throws, whose message must contain `path`; 0 if it throws none.
template <class Fn>
int error_of(const std::string& path, Fn fn) {
  try {
    fn();
  } catch (const std::system_error& error) {
    CHECK(std::string(error.what()).find(path) != std::string::npos);
    CHECK(error.code().category() == std::generic_category());
    return error.code().value();
  }
  return 0;
}

}  // namespace whimbrel
