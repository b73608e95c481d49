// What the encoder of vector sets does to its tokens, compiled once per instruction set into its own
// namespace: transposes, sign bits, count sketches and sums by cell.
//
// Numerics. Sums have a fixed order (that of the list or of the rows), one addition at a time in each output
// coordinate, so every result has the same bits on every ISA; nothing is multiplied but by +-1.
#include "kernels/kernel_table.hpp"
#include "kernels/lanes.hpp"

namespace whimbrel::kernels::WHIMBREL_KERNEL_ISA {
namespace {

typedef std::int32_t IntVec __attribute__((vector_size(kWidth * sizeof(float))));
typedef float Quad __attribute__((vector_size(16)));
typedef float UnalignedQuad __attribute__((vector_size(16), aligned(4), may_alias));

inline Quad load_quad(const float* p) { return *reinterpret_cast<const UnalignedQuad*>(p); }
inline void store_quad(float* p, Quad q) { *reinterpret_cast<UnalignedQuad*>(p) = q; }

void transpose(const float* in, std::size_t in_stride, std::size_t rows, std::size_t cols, float* out,
               std::size_t out_stride) {
  std::size_t r = 0;
  for (; r + 4 <= rows; r += 4) {
    const float* p = in + r * in_stride;
    std::size_t c = 0;
    for (; c + 4 <= cols; c += 4) {
      const Quad a = load_quad(p + c), b = load_quad(p + in_stride + c);
      const Quad d = load_quad(p + 2 * in_stride + c), e = load_quad(p + 3 * in_stride + c);
      const Quad ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5);
      const Quad ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
      const Quad de_low = __builtin_shufflevector(d, e, 0, 4, 1, 5);
      const Quad de_high = __builtin_shufflevector(d, e, 2, 6, 3, 7);
      float* o = out + c * out_stride + r;
      store_quad(o, __builtin_shufflevector(ab_low, de_low, 0, 1, 4, 5));
      store_quad(o + out_stride, __builtin_shufflevector(ab_low, de_low, 2, 3, 6, 7));
      store_quad(o + 2 * out_stride, __builtin_shufflevector(ab_high, de_high, 0, 1, 4, 5));
      store_quad(o + 3 * out_stride, __builtin_shufflevector(ab_high, de_high, 2, 3, 6, 7));
    }
    for (; c < cols; ++c)
      for (std::size_t i = 0; i < 4; ++i) out[c * out_stride + r + i] = p[i * in_stride + c];
  }
  for (; r < rows; ++r)
    for (std::size_t c = 0; c < cols; ++c) out[c * out_stride + r] = in[r * in_stride + c];
}

std::uint64_t sign_bits(const float* products, std::size_t n_bits, const float* bounds, std::uint32_t* bits) {
  std::uint64_t sure = 0;
  for (std::size_t v = 0; v < kTileVecs; ++v) {
    IntVec number = {};
    Vec least = broadcast(3.4e38f);
    for (std::size_t j = 0; j < n_bits; ++j) {
      const Vec p = load(products + j * kTileCols + v * kWidth);
      number = number + number - (p > Vec{});  // a comparison that holds is -1
      const Vec magnitude = p > Vec{} ? p : -p;
      least = magnitude < least ? magnitude : least;
    }
    typedef std::int32_t UnalignedInts
        __attribute__((vector_size(kWidth * sizeof(float)), aligned(4), may_alias));
    *reinterpret_cast<UnalignedInts*>(bits + v * kWidth) = number;
    sure |= less_mask(load(bounds + v * kWidth), least) << (v * kWidth);
  }
  return ~sure & ((std::uint64_t{1} << kTileCols) - 1);
}

void sketch(const float* panel, const std::uint32_t* order, const std::uint32_t* ends, std::size_t n_buckets,
            float* out) {
  std::size_t i = 0;
  for (std::size_t b = 0; b < n_buckets; ++b) {
    Vec sum[kTileVecs] = {};
    for (; i < ends[2 * b]; ++i)
      for (std::size_t v = 0; v < kTileVecs; ++v)
        sum[v] = sum[v] + load(panel + order[i] * kTileCols + v * kWidth);
    for (; i < ends[2 * b + 1]; ++i)
      for (std::size_t v = 0; v < kTileVecs; ++v)
        sum[v] = sum[v] - load(panel + order[i] * kTileCols + v * kWidth);
    for (std::size_t v = 0; v < kTileVecs; ++v) store(out + b * kTileCols + v * kWidth, sum[v]);
  }
}

void add_by_cell(const float* rows, std::size_t stride, std::size_t n, std::size_t width,
                 const std::uint32_t* cells, float* sums) {
  for (std::size_t t = 0; t < n; ++t) {
    const float* row = rows + t * stride;
    float* sum = sums + cells[t] * width;
    std::size_t j = 0;
    for (; j + kWidth <= width; j += kWidth) store(sum + j, load(sum + j) + load(row + j));
    for (; j + 4 <= width; j += 4) store_quad(sum + j, load_quad(sum + j) + load_quad(row + j));
    for (; j < width; ++j) sum[j] += row[j];
  }
}

}  // namespace

extern const EncodingKernels kEncoding;
const EncodingKernels kEncoding = {transpose, sign_bits, sketch, add_by_cell};

}  // namespace whimbrel::kernels::WHIMBREL_KERNEL_ISA
