// The owner of a prepared matrix: memory, checks, one wait.
#include "whimbrel/cuda/device_matrix.hpp"

#include <bit>
#include <limits>
#include <stdexcept>
#include <string>
#include <utility>

#include "arena.hpp"
#include "prepare.cuh"
#include "scan_layout.hpp"

namespace whimbrel::cuda {
namespace {

std::size_t round_up(std::size_t n, std::size_t to) { return (n + to - 1) / to * to; }

}  // namespace

DeviceMatrix::DeviceMatrix(DeviceBuffer owned_rows, DeviceRows rows, Metric metric, cudaStream_t stream)
    : owned_rows_(std::move(owned_rows)), rows_(rows), metric_(metric) {
  if (rows.rows > static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max()))
    throw std::length_error("data: expected at most 2^31 - 1 rows, got " + std::to_string(rows.rows));
  auto operand = std::make_unique<ScanOperand>();
  operand->padded_rows = round_up(rows.rows, kRowPadding);
  operand->depth = round_up(std::max<std::size_t>(rows.cols, 1), kDepthStep);
  operand->scale = 1;
  if (rows.rows > 0) {
    const auto place = [&](Arena arena, RowOperand& out) {
      out.summary = arena.take<RowSummary>(1);
      out.values = arena.take<__half>(operand->padded_rows * operand->depth);
      out.bias = arena.take<float>(operand->padded_rows);
      out.norms = metric == Metric::kCosine ? arena.take<double>(rows.rows) : nullptr;
      out.center = metric == Metric::kL2 ? arena.take<float>(rows.cols) : nullptr;
      out.means = metric == Metric::kL2 ? arena.take<double>(rows.cols) : nullptr;
      return arena.used();
    };
    RowOperand out{};
    prepared_ = DeviceBuffer(place(Arena(nullptr), out));
    place(Arena(prepared_.data()), out);
    check(prepare_rows(rows, out, operand->padded_rows, operand->depth, stream), "preparing rows");
    RowSummary summary;
    check(cudaMemcpyAsync(&summary, out.summary, sizeof summary, cudaMemcpyDeviceToHost, stream),
          "cudaMemcpyAsync");
    check(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
    if (summary.bad != 0)
      throw std::invalid_argument("data: expected finite values, got NaN or infinity in row " +
                                  std::to_string(rows.rows - summary.bad));
    operand->values = out.values;
    operand->bias = out.bias;
    operand->norms = out.norms;
    operand->center = out.center;
    operand->scale = operand_scale(summary, metric);
    operand->bounds = {std::bit_cast<double>(summary.scaled_norm), std::bit_cast<double>(summary.lost),
                       std::bit_cast<double>(summary.bias)};
  }
  operand_ = std::move(operand);
}

DeviceMatrix::DeviceMatrix(DeviceRows rows, Metric metric, cudaStream_t stream)
    : DeviceMatrix(DeviceBuffer(), rows, metric, stream) {}

DeviceMatrix DeviceMatrix::upload(DeviceRows host_rows, Metric metric, cudaStream_t stream) {
  const std::size_t width = host_rows.cols * element_bytes(host_rows.type);
  DeviceBuffer buffer(host_rows.rows * width);
  if (buffer.bytes() > 0)
    check(cudaMemcpy2DAsync(buffer.data(), width, host_rows.data,
                            host_rows.stride * element_bytes(host_rows.type), width, host_rows.rows,
                            cudaMemcpyHostToDevice, stream),
          "cudaMemcpy2DAsync");
  const DeviceRows rows(buffer.data(), host_rows.type, host_rows.rows, host_rows.cols, host_rows.cols);
  return {std::move(buffer), rows, metric, stream};
}

DeviceMatrix::DeviceMatrix(DeviceMatrix&&) noexcept = default;
DeviceMatrix& DeviceMatrix::operator=(DeviceMatrix&&) noexcept = default;
DeviceMatrix::~DeviceMatrix() = default;

std::size_t DeviceMatrix::bytes() const noexcept { return owned_rows_.bytes() + prepared_.bytes(); }

}  // namespace whimbrel::cuda
