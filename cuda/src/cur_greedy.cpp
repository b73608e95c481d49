#include "whimbrel/cuda/cur_greedy.hpp"

#include <utility>
#include <vector>

#include "cur_greedy_kernels.hpp"
#include "whimbrel/cuda/device_buffer.hpp"
#include "whimbrel/cuda/errors.hpp"

namespace whimbrel::cuda {
namespace {

template <class T>
DeviceBuffer upload(std::span<const T> values, cudaStream_t stream) {
  DeviceBuffer buffer(values.size_bytes());
  check(cudaMemcpyAsync(buffer.data(), values.data(), values.size_bytes(), cudaMemcpyHostToDevice, stream),
        "cudaMemcpyAsync");
  return buffer;
}

}  // namespace

class CurGreedy::Impl {
 public:
  explicit Impl(cudaStream_t stream) : stream_(stream) {}

  void start(const GreedyStart& start) {
    const std::size_t n = start.rows.rows, dim = start.rows.cols;
    rows_ = DeviceBuffer(n * dim * sizeof(float));
    check(cudaMemcpy2DAsync(rows_.data(), dim * sizeof(float), start.rows.data,
                            start.rows.stride * sizeof(float), dim * sizeof(float), n, cudaMemcpyHostToDevice,
                            stream_),
          "cudaMemcpy2DAsync");
    scales_ = upload(start.scales, stream_);
    column_ = upload(start.column, stream_);
    diagonal_ = upload(start.diagonal, stream_);
    blocked_ = upload(start.blocked, stream_);
    x_ = DeviceBuffer(dim * sizeof(float));
    w_ = DeviceBuffer(dim * sizeof(float));
    best_ = DeviceBuffer(sizeof(GreedyBest));
    items_ = {rows_.data<float>(),
              start.scales.empty() ? nullptr : scales_.data<float>(),
              column_.data<double>(),
              diagonal_.data<double>(),
              blocked_.data<std::uint8_t>(),
              n,
              dim,
              start.tiny};
    check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
  }

  void deflate(std::span<const float> x, std::span<const float> w, double g, double xw) {
    check(cudaMemcpyAsync(x_.data(), x.data(), x.size_bytes(), cudaMemcpyHostToDevice, stream_),
          "cudaMemcpyAsync");
    check(cudaMemcpyAsync(w_.data(), w.data(), w.size_bytes(), cudaMemcpyHostToDevice, stream_),
          "cudaMemcpyAsync");
    check(launch_deflate(items_, x_.data<float>(), w_.data<float>(), g, xw, stream_), "launch_deflate");
  }

  void block(std::size_t item) {
    check(cudaMemsetAsync(items_.blocked + item, 1, 1, stream_), "cudaMemsetAsync");
  }

  std::size_t best() {
    check(launch_best(items_, best_.data<GreedyBest>(), stream_), "launch_best");
    GreedyBest found = {};
    check(cudaMemcpyAsync(&found, best_.data(), sizeof found, cudaMemcpyDeviceToHost, stream_),
          "cudaMemcpyAsync");
    check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
    return found.item;
  }

 private:
  cudaStream_t stream_;
  DeviceBuffer rows_, scales_, column_, diagonal_, blocked_, x_, w_, best_;
  GreedyItems items_ = {};
};

CurGreedy::CurGreedy(cudaStream_t stream) : impl_(std::make_unique<Impl>(stream)) {}
CurGreedy::~CurGreedy() = default;

void CurGreedy::start(const GreedyStart& start) { impl_->start(start); }
void CurGreedy::deflate(std::span<const float> x, std::span<const float> w, double g, double xw) {
  impl_->deflate(x, w, g, xw);
}
void CurGreedy::block(std::size_t item) { impl_->block(item); }
std::size_t CurGreedy::best() { return impl_->best(); }

}  // namespace whimbrel::cuda
