// Sets of token vectors on a device: MaxSim and the encoder. All arrays are there already.
#include "cuda_module.hpp"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <tuple>

#include "arrays.hpp"
#include "cuda_arrays.hpp"
#include "fde_params.hpp"
#include "names.hpp"
#include "whimbrel/cuda/errors.hpp"
#include "whimbrel/cuda/fde_encoder.hpp"
#include "whimbrel/cuda/maxsim.hpp"

namespace whimbrel::python {
namespace {

/// Tokens, their dtype, addresses of their scales (int8) and offsets, the number of sets
using SetsTuple = std::tuple<MatrixTuple, std::string, std::uintptr_t, std::uintptr_t, std::size_t>;
/// Addresses of offsets and ids, the number of ids, tokens of the longest query
using ListsTuple = std::tuple<std::uintptr_t, std::uintptr_t, std::size_t, std::size_t>;

cuda::RaggedTokens as_tokens(const SetsTuple& sets) {
  const auto& [matrix, dtype, scales, offsets, n_sets] = sets;
  const auto [address, rows, cols, stride] = matrix;
  if (dtype != "float32" && dtype != "float16" && dtype != "int8")
    throw std::invalid_argument("dtype: expected 'float32', 'float16' or 'int8', got '" + dtype + "'");
  return {as_pointer<const void>(address),
          dtype == "float32"   ? TokenType::kFloat32
          : dtype == "float16" ? TokenType::kFloat16
                               : TokenType::kInt8,
          rows,
          cols,
          stride,
          as_pointer<const float>(scales),
          as_pointer<const std::int64_t>(offsets),
          n_sets};
}

cuda::DeviceLists as_lists(const ListsTuple& lists) {
  const auto [offsets, ids, n_ids, longest] = lists;
  return {as_pointer<const std::int64_t>(offsets), as_pointer<const std::int64_t>(ids), n_ids, longest};
}

std::size_t within(const cuda::WorkspaceBytes& bytes, std::size_t limit) {
  return std::max(bytes.least, std::min(bytes.best, limit));
}

std::size_t matrix_workspace(const SetsTuple& queries, const SetsTuple& docs, std::size_t limit) {
  return within(cuda::maxsim_workspace_bytes(as_tokens(queries), as_tokens(docs)), limit);
}

std::size_t lists_workspace(const SetsTuple& queries, const SetsTuple& docs, const ListsTuple& lists,
                            std::size_t limit) {
  return within(cuda::maxsim_lists_workspace_bytes(as_tokens(queries), as_tokens(docs), as_lists(lists)),
                limit);
}

void maxsim_matrix(const SetsTuple& queries, const SetsTuple& docs, bool normalize, std::uintptr_t scores,
                   std::uintptr_t workspace, std::size_t workspace_bytes, int device, std::uintptr_t stream) {
  const cuda::RaggedTokens q = as_tokens(queries), d = as_tokens(docs);
  const py::gil_scoped_release nogil;
  const DeviceGuard guard(device);
  cuda::check(cuda::launch_maxsim_matrix(q, d, normalize, as_pointer<float>(scores),
                                         as_pointer<void>(workspace), workspace_bytes, as_stream(stream)),
              "maxsim");
}

void maxsim_lists(const SetsTuple& queries, const SetsTuple& docs, const ListsTuple& lists, bool normalize,
                  std::uintptr_t scores, std::uintptr_t workspace, std::size_t workspace_bytes, int device,
                  std::uintptr_t stream) {
  const cuda::RaggedTokens q = as_tokens(queries), d = as_tokens(docs);
  const py::gil_scoped_release nogil;
  const DeviceGuard guard(device);
  cuda::check(cuda::launch_maxsim_lists(q, d, as_lists(lists), normalize, as_pointer<float>(scores),
                                        as_pointer<void>(workspace), workspace_bytes, as_stream(stream)),
              "maxsim");
}

/// An encoder and its device, which is the current one during every call.
struct BoundEncoder {
  cuda::FdeEncoder encoder;
  int device;
};

std::unique_ptr<BoundEncoder> make_encoder(std::size_t dim, std::uint32_t k_sim, std::uint32_t r_reps,
                                           const std::string& projection, std::size_t d_proj,
                                           std::size_t d_final, bool fill_empty, std::uint64_t seed,
                                           const std::string& mode, const Array<float>& center, int device) {
  const FdeParams params =
      make_fde_params(dim, k_sim, r_reps, projection, d_proj, d_final, fill_empty, seed, mode, center);
  const py::gil_scoped_release nogil;
  const DeviceGuard guard(device);
  return std::make_unique<BoundEncoder>(BoundEncoder{cuda::FdeEncoder(params), device});
}

/// `out`: of float32 if not `half`, else of float16.
void encode(const BoundEncoder& self, const SetsTuple& sets, bool documents, std::uintptr_t out, bool half,
            std::uintptr_t workspace, std::size_t workspace_bytes, std::uintptr_t stream) {
  const cuda::RaggedTokens tokens = as_tokens(sets);
  cuda::FdeDeviceOutput to;
  if (half)
    to.f16 = as_pointer<std::uint16_t>(out);
  else
    to.f32 = as_pointer<float>(out);
  const py::gil_scoped_release nogil;
  const DeviceGuard guard(self.device);
  cuda::check(documents ? self.encoder.launch_documents(tokens, to, as_pointer<void>(workspace),
                                                        workspace_bytes, as_stream(stream))
                        : self.encoder.launch_queries(tokens, to, as_pointer<void>(workspace),
                                                      workspace_bytes, as_stream(stream)),
              "encode");
}

}  // namespace

void register_cuda_sets(py::module_& m) {
  m.def("maxsim_workspace_bytes", &matrix_workspace, py::arg("queries"), py::arg("docs"), py::arg("limit"),
        "Bytes that maxsim_matrix is given.");
  m.def("maxsim_lists_workspace_bytes", &lists_workspace, py::arg("queries"), py::arg("docs"),
        py::arg("lists"), py::arg("limit"), "Bytes that maxsim_lists is given.");
  m.def("maxsim_matrix", &maxsim_matrix, py::arg("queries"), py::arg("docs"), py::arg("normalize"),
        py::arg("scores"), py::arg("workspace"), py::arg("workspace_bytes"), py::arg("device"),
        py::arg("stream"), "See whimbrel.maxsim_matrix.");
  m.def("maxsim_lists", &maxsim_lists, py::arg("queries"), py::arg("docs"), py::arg("lists"),
        py::arg("normalize"), py::arg("scores"), py::arg("workspace"), py::arg("workspace_bytes"),
        py::arg("device"), py::arg("stream"), "See whimbrel.maxsim_pairs.");
  py::class_<BoundEncoder>(m, "FdeEncoder", "See whimbrel.FdeEncoder.")
      .def(py::init(&make_encoder), py::arg("dim"), py::arg("k_sim"), py::arg("r_reps"),
           py::arg("projection"), py::arg("d_proj"), py::arg("d_final"), py::arg("fill_empty"),
           py::arg("seed"), py::arg("mode"), py::arg("center"), py::arg("device"))
      .def(
          "workspace_bytes",
          [](const BoundEncoder& self, std::size_t n_sets) { return self.encoder.workspace_bytes(n_sets); },
          py::arg("n_sets"), "Bytes for so many sets at a time.")
      .def("encode", &encode, py::arg("sets"), py::arg("documents"), py::arg("out"), py::arg("half"),
           py::arg("workspace"), py::arg("workspace_bytes"), py::arg("stream"),
           "See whimbrel.FdeEncoder.encode_documents.");
}

}  // namespace whimbrel::python
