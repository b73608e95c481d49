// Multiply-adds that load nothing and wait for nothing, compiled once per instruction set beside its kernels.
#include "peak_rate.hpp"

#include "kernels/lanes.hpp"

namespace whimbrel::kernels::WHIMBREL_KERNEL_ISA {
namespace {

constexpr std::size_t kChains = 12;  // two units times the latency of four, and more; fits 16 registers

double vectors(std::size_t rounds, float* values) {
  const Vec factor = broadcast(values[0]), addend = broadcast(values[1]);
  Vec chains[kChains];
  for (std::size_t i = 0; i < kChains; ++i) chains[i] = broadcast(static_cast<float>(i));
  for (std::size_t round = 0; round < rounds; ++round)
    for (std::size_t i = 0; i < kChains; ++i) chains[i] = fma(chains[i], factor, addend);
  Vec sum{};
  for (std::size_t i = 0; i < kChains; ++i) sum += chains[i];
  for (std::size_t i = 0; i < kWidth; ++i) values[2] += sum[i];
  return 2.0 * static_cast<double>(rounds * kChains * kWidth);
}

#if defined(__AMX_BF16__)
/// Four products of (16, 32) and (32, 16) matrices of bfloat16 a round.
double matrices(std::size_t rounds) {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_zero(4);
  _tile_zero(5);
  _tile_zero(6);
  _tile_zero(7);
  for (std::size_t round = 0; round < rounds; ++round) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  return 2.0 * 16 * 16 * 32 * 4 * static_cast<double>(rounds);
}
constexpr auto kMatrices = matrices;
#else
constexpr double (*kMatrices)(std::size_t) = nullptr;
#endif

#define WHIMBREL_TEXT_OF(x) #x
#define WHIMBREL_TEXT(x) WHIMBREL_TEXT_OF(x)

}  // namespace

extern const bench::PeakRate kPeak;
const bench::PeakRate kPeak = {WHIMBREL_TEXT(WHIMBREL_KERNEL_ISA), vectors, kMatrices};

}  // namespace whimbrel::kernels::WHIMBREL_KERNEL_ISA
