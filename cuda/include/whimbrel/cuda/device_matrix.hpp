// A matrix of vectors in device memory, prepared once for any number of searches.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <memory>

#include "whimbrel/cuda/device_buffer.hpp"
#include "whimbrel/matrix_view.hpp"
#include "whimbrel/metric.hpp"

namespace whimbrel::cuda {

/// What the library reads. Every value is taken as the float it equals, so results are those of the CPU on
/// the rows converted to float.
enum class ElementType : std::uint8_t { kF32, kF16, kBf16, kI8 };

constexpr std::size_t element_bytes(ElementType type) {
  return type == ElementType::kF32 ? 4 : type == ElementType::kI8 ? 1 : 2;
}

/// A MatrixView of any element type. Rows start `stride` elements apart; no alignment beyond that of an
/// element is asked for, though rows aligned to 16 bytes are read faster.
struct DeviceRows {
  const void* data = nullptr;
  ElementType type = ElementType::kF32;
  std::size_t rows = 0;
  std::size_t cols = 0;
  std::size_t stride = 0;

  DeviceRows() = default;
  DeviceRows(const void* data_, ElementType type_, std::size_t rows_, std::size_t cols_, std::size_t stride_)
      : data(data_), type(type_), rows(rows_), cols(cols_), stride(stride_) {}
  DeviceRows(MatrixView<const float> m) : DeviceRows(m.data, ElementType::kF32, m.rows, m.cols, m.stride) {}
  DeviceRows(MatrixView<const __half> m) : DeviceRows(m.data, ElementType::kF16, m.rows, m.cols, m.stride) {}
  DeviceRows(MatrixView<const __nv_bfloat16> m)
      : DeviceRows(m.data, ElementType::kBf16, m.rows, m.cols, m.stride) {}
  DeviceRows(MatrixView<const std::int8_t> m)
      : DeviceRows(m.data, ElementType::kI8, m.rows, m.cols, m.stride) {}

  /// Rows [first, first + n).
  DeviceRows slice(std::size_t first, std::size_t n) const {
    const auto* bytes = static_cast<const unsigned char*>(data);
    return {bytes + first * stride * element_bytes(type), type, n, cols, stride};
  }
};

/// What the scan of a search reads: kernels take it by value. See cuda/src/scan_operand.cuh.
struct ScanOperand;

/// Rows to search in, with what a search needs beside them: the rows in fp16, centered and scaled by a power
/// of two, padded with zeros to whole tiles; their norms; bounds of what the rounding took. Costs about
/// 2 (cols rounded up to 64) + 4 bytes a row beside the rows (12 with cosine). Immutable; any number of
/// searches on any streams may use it at once.
class DeviceMatrix {
 public:
  /// Borrow `rows`, which stay where they are and must neither change nor go away during the life of this.
  /// The preparation runs on `stream`; the call returns when it is done.
  ///
  /// @param metric  of the searches to come
  /// @throws CudaError; std::invalid_argument ("data: expected finite values, ...") naming the first row with
  ///         a NaN or infinity; std::length_error beyond 2^31 - 1 rows
  DeviceMatrix(DeviceRows rows, Metric metric, cudaStream_t stream);
  /// The same with a copy of rows that lie in host memory, made and kept by this object.
  static DeviceMatrix upload(DeviceRows host_rows, Metric metric, cudaStream_t stream);

  DeviceMatrix(DeviceMatrix&&) noexcept;
  DeviceMatrix& operator=(DeviceMatrix&&) noexcept;
  ~DeviceMatrix();

  const DeviceRows& rows() const noexcept { return rows_; }
  Metric metric() const noexcept { return metric_; }
  /// Device memory this object owns.
  std::size_t bytes() const noexcept;
  /// Valid as long as the object.
  const ScanOperand& operand() const noexcept { return *operand_; }

 private:
  DeviceMatrix(DeviceBuffer owned_rows, DeviceRows rows, Metric metric, cudaStream_t stream);

  DeviceBuffer owned_rows_, prepared_;
  DeviceRows rows_;
  Metric metric_;
  std::unique_ptr<const ScanOperand> operand_;
};

}  // namespace whimbrel::cuda
