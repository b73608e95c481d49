// Saving and loading: paths, Python's file objects and bytes, for any class with save() and load().
#pragma once

#include "module.hpp"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <stdexcept>
#include <string>
#include <system_error>

#include "whimbrel/byte_io.hpp"

namespace whimbrel::python {

/// File objects get and give bytes in pieces of at most this size.
inline constexpr std::size_t kPiece = std::size_t{1} << 22;

template <class Fn>
auto without_gil(const Fn& fn) {
  const py::gil_scoped_release nogil;
  return fn();
}

/// Run `fn` without the GIL; an error of the operating system becomes an OSError that names the file.
template <class Fn>
auto with_path(const std::string& path, const Fn& fn) {
  try {
    return without_gil(fn);
  } catch (const std::system_error& e) {
    const auto name = py::reinterpret_steal<py::object>(
        PyUnicode_DecodeFSDefaultAndSize(path.data(), static_cast<py::ssize_t>(path.size())));
    PyErr_SetObject(PyExc_OSError, py::make_tuple(e.code().value(), e.code().message(), name).ptr());
    throw py::error_already_set();
  }
}

template <class T>
void save_path(const T& self, const std::string& path) {
  with_path(path, [&] { self.save(path); });
}

template <class T>
T load_path(const std::string& path) {
  return with_path(path, [&] { return T::load(path); });
}

template <class T>
void save_file(const T& self, const py::object& file) {
  const py::object write = file.attr("write");
  const ByteSink sink = [handle = py::handle(write)](const void* data, std::size_t size) {
    const py::gil_scoped_acquire gil;
    for (const char* p = static_cast<const char*>(data); size > 0;) {
      const std::size_t piece = std::min(size, kPiece);
      const py::object answer = handle(py::bytes(p, piece));
      // Raw files may write less; objects that are not quite files return nothing.
      const std::size_t written = answer.is_none() ? piece : answer.cast<std::size_t>();
      if (written == 0 || written > piece)
        throw std::invalid_argument("file: expected write() to take some of the bytes");
      p += written;
      size -= written;
    }
  };
  without_gil([&] { self.save(sink); });
}

template <class T>
T load_file(const py::object& file) {
  const py::object read = file.attr("read");
  const ByteSource source = [handle = py::handle(read)](void* data, std::size_t size) -> std::size_t {
    const py::gil_scoped_acquire gil;
    const std::size_t piece = std::min(size, kPiece);
    const py::object answer = handle(piece);
    if (!PyObject_CheckBuffer(answer.ptr()))
      throw py::type_error("file: expected read() to return bytes; is the file open in binary mode?");
    const py::buffer_info bytes = py::reinterpret_borrow<py::buffer>(answer).request();
    const auto got = static_cast<std::size_t>(bytes.size * bytes.itemsize);
    if (got > piece)
      throw std::invalid_argument("file: expected read() to return at most the bytes asked for");
    std::memcpy(data, bytes.ptr, got);
    return got;
  };
  return without_gil([&] { return T::load(source); });
}

template <class T>
py::bytes dumps(const T& self) {
  std::string out;
  const ByteSink sink = [&](const void* data, std::size_t size) {
    out.append(static_cast<const char*>(data), size);
  };
  without_gil([&] { self.save(sink); });
  return py::bytes(out);
}

template <class T>
T loads(const py::buffer& data) {
  const py::buffer_info bytes = data.request();
  if (!PyBuffer_IsContiguous(bytes.view(), 'C'))
    throw std::invalid_argument("data: expected contiguous bytes");
  const char* next = static_cast<const char*>(bytes.ptr);
  auto left = static_cast<std::size_t>(bytes.size * bytes.itemsize);
  const ByteSource source = [&](void* out, std::size_t size) {
    const std::size_t piece = std::min(size, left);
    std::memcpy(out, next, piece);
    next += piece;
    left -= piece;
    return piece;
  };
  return without_gil([&] { return T::load(source); });
}

}  // namespace whimbrel::python
