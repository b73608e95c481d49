// The encoder on a device: its random objects there, and how a call is cut. What is done per set is in
// fde_kernel.cuh.
#include "whimbrel/cuda/fde_encoder.hpp"

#include <cuda_fp16.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "fde_kernel_job.hpp"
#include "fde_kernels.hpp"
#include "token_layout.hpp"
#include "whimbrel/cuda/device_buffer.hpp"
#include "whimbrel/cuda/errors.hpp"
#include "whimbrel/fde_random_objects.hpp"

namespace whimbrel::cuda {
namespace {

constexpr std::size_t kMaxCells = 512;
constexpr std::size_t kMaxDim = 1024;

template <class T>
DeviceBuffer upload(const std::vector<T>& values) {
  if (values.empty()) return {};
  DeviceBuffer buffer(values.size() * sizeof(T));
  check(cudaMemcpy(buffer.data(), values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice),
        "cudaMemcpy");
  return buffer;
}

double norm(const float* values, std::size_t n) {
  double squares = 0;
  for (std::size_t i = 0; i < n; ++i) squares += static_cast<double>(values[i]) * values[i];
  return std::sqrt(squares);
}

/// How far a product of the tensor cores can be from the canonical one, for each plane: the bounds of
/// maxsim_bound.hpp, and the plane's own rounding to halves by what it took away from it. Planes are not
/// scaled: their values are normal numbers.
std::vector<PlaneFacts> plane_facts(const FdeParams& params, const std::vector<float>& planes,
                                    std::size_t n_steps) {
  const std::size_t dim = params.dim;
  const auto d = static_cast<double>(dim);
  std::vector<PlaneFacts> facts;
  for (std::size_t at = 0; at < planes.size(); at += dim) {
    const float* plane = planes.data() + at;
    double lost = 0, with_center = 0;
    for (std::size_t i = 0; i < dim; ++i) {
      const double rest = static_cast<double>(plane[i]) - __half2float(__float2half_rn(plane[i]));
      lost += rest * rest;
      if (!params.center.empty()) with_center += static_cast<double>(plane[i]) * params.center[i];
    }
    const double length = norm(plane, dim);
    // Two products for a half of a token, and each for both of its parts.
    const double sums = 20 * static_cast<double>(4 * n_steps) * 0x1p-23;
    const double rest = 4 * 0x1p-22 + (d / 32 + 8 + 8) * 0x1p-24;
    facts.push_back({static_cast<float>(1.011 * (std::sqrt(lost) + (sums + rest) * length)),
                     static_cast<float>(1.011 * (std::sqrt(d) * 0x1p-24 * length + d * 0x1p-124)),
                     static_cast<float>(with_center), 0});
  }
  return facts;
}

/// The projections of all repetitions as one matrix, (r_reps * d_proj, dim), of 0 and +-1.
std::vector<float> projection_rows(const FdeParams& params, const FdeRandomObjects& objects) {
  if (params.projection == FdeProjection::kSign) return objects.signs;
  std::vector<float> rows(params.r_reps * params.d_proj * params.dim);
  for (std::size_t r = 0; r < params.r_reps; ++r)
    for (std::size_t i = 0; i < params.dim; ++i) {
      const bool sketch = params.projection == FdeProjection::kCountSketch;
      const std::size_t at = r * params.dim + i, row = sketch ? objects.bucket[at] : i;
      rows[(r * params.d_proj + row) * params.dim + i] = sketch && objects.negative[at] != 0 ? -1.0f : 1.0f;
    }
  return rows;
}

}  // namespace

class FdeEncoder::Impl {
 public:
  explicit Impl(const FdeParams& params) : params_(whimbrel::FdeEncoder(params).params()) {
    const std::size_t n_cells = std::size_t{1} << params_.k_sim;
    if (n_cells > kMaxCells || params_.dim > kMaxDim)
      throw std::length_error("2^k_sim, dim: expected at most " + std::to_string(kMaxCells) + " and " +
                              std::to_string(kMaxDim) + " on a device, got " + std::to_string(n_cells) +
                              " and " + std::to_string(params_.dim));
    if (params_.fill_mean) throw std::invalid_argument("fill_mean: expected false on a device, got true");
    length_ = params_.r_reps * n_cells * params_.d_proj;
    const FdeRandomObjects objects = draw_random_objects(params_);
    const std::size_t n_steps = round_up(params_.dim, kStepDepth) / kStepDepth;
    const std::size_t n_planes = std::size_t{params_.r_reps} * params_.k_sim;
    const std::size_t n_rows = params_.r_reps * params_.d_proj;
    planes_ = upload(objects.planes);
    plane_operand_ = upload(make_operand(objects.planes, n_planes, params_.dim, n_steps));
    plane_facts_ = upload(plane_facts(params_, objects.planes, n_steps));
    row_operand_ = upload(make_operand(projection_rows(params_, objects), n_rows, params_.dim, n_steps));
    center_ = upload(params_.center);
    if (params_.d_final > 0) upload_final(objects);

    job_.tables = {plane_operand_.data<uint4>(),
                   planes_.data<float>(),
                   plane_facts_.data<PlaneFacts>(),
                   center_.data<float>(),
                   static_cast<float>(1.0001 * norm(params_.center.data(), params_.center.size())),
                   row_operand_.data<uint4>(),
                   params_.projection == FdeProjection::kSign
                       ? static_cast<float>(1 / std::sqrt(static_cast<double>(params_.d_proj)))
                       : 1.0f};
    job_.dim = static_cast<unsigned>(params_.dim);
    job_.n_steps = static_cast<unsigned>(n_steps);
    job_.k_sim = params_.k_sim;
    job_.n_cells = static_cast<unsigned>(n_cells);
    job_.r_reps = params_.r_reps;
    job_.d_proj = static_cast<unsigned>(params_.d_proj);
    job_.n_rows = static_cast<unsigned>(n_rows);
    job_.n_tiles = static_cast<unsigned>(round_up(n_rows, kQueryRows) / kQueryRows);
    job_.gray = params_.mode == FdeMode::kGoogle;
  }

  const FdeParams& params() const noexcept { return params_; }
  std::size_t dim_out() const noexcept { return params_.d_final > 0 ? params_.d_final : length_; }
  std::size_t workspace_bytes(std::size_t n_sets) const noexcept {
    return params_.d_final > 0 ? n_sets * length_ * sizeof(float) : 0;
  }

  cudaError_t launch(bool documents, const RaggedTokens& sets, const FdeDeviceOutput& out, void* workspace,
                     std::size_t workspace_bytes, cudaStream_t stream) const {
    if (sets.dim != params_.dim || sets.type == TokenType::kInt8 ||
        (out.f32 == nullptr) == (out.f16 == nullptr))
      return cudaErrorInvalidValue;
    FdeJob job = job_;
    job.documents = documents;
    // Without bits there is one cell.
    job.fill = documents && params_.fill_empty && params_.k_sim > 0;
    job.partitions = out.partitions;
    if (params_.d_final == 0) {
      job.first = 0;
      job.last = sets.n_sets;
      job.f32 = out.f32;
      job.f16 = reinterpret_cast<__half*>(out.f16);
      return launch_encode(job, sets, stream);
    }
    const std::size_t at_a_time = workspace_bytes / this->workspace_bytes(1);
    if (at_a_time == 0 && sets.n_sets > 0) return cudaErrorInvalidValue;
    for (std::size_t first = 0; first < sets.n_sets; first += at_a_time) {
      job.first = first;
      job.last = std::min(first + at_a_time, sets.n_sets);
      job.f32 = static_cast<float*>(workspace);
      cudaError_t error = launch_encode(job, sets, stream);
      if (error == cudaSuccess)
        error = launch_final_sketch(final_, job.f32, job.last - first,
                                    out.f32 != nullptr ? out.f32 + first * params_.d_final : nullptr,
                                    out.f16 != nullptr ? out.f16 + first * params_.d_final : nullptr, stream);
      if (error != cudaSuccess) return error;
    }
    return cudaSuccess;
  }

 private:
  void upload_final(const FdeRandomObjects& objects) {
    std::vector<std::uint32_t> ends(params_.d_final), entries(length_);
    for (const std::uint32_t b : objects.final_bucket) ++ends[b];
    std::uint32_t begin = 0;
    for (std::uint32_t& end : ends) begin += std::exchange(end, begin);
    for (std::size_t i = 0; i < length_; ++i)
      entries[ends[objects.final_bucket[i]]++] =
          static_cast<std::uint32_t>(2 * i + (objects.final_negative[i] != 0 ? 1 : 0));
    final_entries_ = upload(entries);
    final_ends_ = upload(ends);
    final_ = {final_entries_.data<std::uint32_t>(), final_ends_.data<std::uint32_t>(), length_,
              params_.d_final};
  }

  FdeParams params_;
  std::size_t length_ = 0;  // before the final sketch
  DeviceBuffer planes_, plane_operand_, plane_facts_, row_operand_, center_, final_entries_, final_ends_;
  FinalSketch final_;
  FdeJob job_ = {};
};

FdeEncoder::FdeEncoder(const FdeParams& params) : impl_(std::make_unique<const Impl>(params)) {}
FdeEncoder::~FdeEncoder() = default;
FdeEncoder::FdeEncoder(FdeEncoder&&) noexcept = default;
FdeEncoder& FdeEncoder::operator=(FdeEncoder&&) noexcept = default;

const FdeParams& FdeEncoder::params() const noexcept { return impl_->params(); }
std::size_t FdeEncoder::dim_out() const noexcept { return impl_->dim_out(); }
std::size_t FdeEncoder::workspace_bytes(std::size_t n_sets) const noexcept {
  return impl_->workspace_bytes(n_sets);
}

cudaError_t FdeEncoder::launch_documents(const RaggedTokens& documents, const FdeDeviceOutput& out,
                                         void* workspace, std::size_t workspace_bytes,
                                         cudaStream_t stream) const {
  return impl_->launch(true, documents, out, workspace, workspace_bytes, stream);
}

cudaError_t FdeEncoder::launch_queries(const RaggedTokens& queries, const FdeDeviceOutput& out,
                                       void* workspace, std::size_t workspace_bytes,
                                       cudaStream_t stream) const {
  return impl_->launch(false, queries, out, workspace, workspace_bytes, stream);
}

}  // namespace whimbrel::cuda
