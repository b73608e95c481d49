#include "limits.hpp"

#include <algorithm>
#include <cstring>
#include <ctime>
#include <map>
#include <stdexcept>
#include <string>

#include "base/memory.hpp"
#include "peak_rate.hpp"

namespace whimbrel {

namespace kernels {
#define WHIMBREL_DECLARE_PEAK(isa)    \
  namespace isa {                     \
  extern const bench::PeakRate kPeak; \
  }
#ifdef WHIMBREL_HAVE_BASELINE
WHIMBREL_DECLARE_PEAK(baseline)
#endif
#ifdef WHIMBREL_HAVE_AVX2
WHIMBREL_DECLARE_PEAK(avx2)
#endif
#ifdef WHIMBREL_HAVE_AVX512
WHIMBREL_DECLARE_PEAK(avx512)
#endif
#ifdef WHIMBREL_HAVE_AMX
WHIMBREL_DECLARE_PEAK(amx)
#endif
#ifdef WHIMBREL_HAVE_NEON
WHIMBREL_DECLARE_PEAK(neon)
#endif
#undef WHIMBREL_DECLARE_PEAK
}  // namespace kernels

namespace bench {
namespace {

const PeakRate* const kPeaks[] = {
#ifdef WHIMBREL_HAVE_BASELINE
    &kernels::baseline::kPeak,
#endif
#ifdef WHIMBREL_HAVE_AVX2
    &kernels::avx2::kPeak,
#endif
#ifdef WHIMBREL_HAVE_AVX512
    &kernels::avx512::kPeak,
#endif
#ifdef WHIMBREL_HAVE_AMX
    &kernels::amx::kPeak,
#endif
#ifdef WHIMBREL_HAVE_NEON
    &kernels::neon::kPeak,
#endif
};

const PeakRate& peak_of(const kernels::KernelTable& table) {
  for (const PeakRate* peak : kPeaks)
    if (std::string(peak->isa) == table.isa) return *peak;
  throw std::logic_error(std::string("no peak rate of ") + table.isa);
}

/// The best rate of some calls, by processor time; each returns how much it did.
template <class Fn>
double best_rate(Fn fn) {
  double best = 0;
  for (int repetition = 0; repetition < 10; ++repetition) {
    const std::clock_t start = std::clock();
    const double amount = fn();
    const auto ticks = static_cast<double>(std::clock() - start);
    best = std::max(best, amount * CLOCKS_PER_SEC / std::max(ticks, 1.0));
  }
  return best;
}

}  // namespace

double copy_rate(std::size_t bytes) {
  static std::map<std::size_t, double> known;
  double& rate = known[bytes];
  if (rate == 0) {
    const std::size_t half = bytes / 2, rounds = std::max<std::size_t>(1, (std::size_t{64} << 20) / bytes);
    AlignedArray<char> from(half), to(half);
    rate = best_rate([&] {
      for (std::size_t round = 0; round < rounds; ++round) {
        std::memcpy(to.data(), from.data(), half);
        std::swap(from, to);  // or only the last copy would matter to a compiler
      }
      return 2.0 * static_cast<double>(half * rounds);
    });
  }
  return rate;
}

double vector_rate(const kernels::KernelTable& table) {
  static std::map<std::string, double> known;
  double& rate = known[table.isa];
  if (rate == 0) {
    float values[3] = {1.0F, 0.0F, 0.0F};
    rate = best_rate([&] { return peak_of(table).vectors(2'000'000, values); });
  }
  return rate;
}

double matrix_rate(const kernels::KernelTable& table) {
  if (table.matrix.rows == 0) return 0;
  static std::map<std::string, double> known;
  double& rate = known[table.isa];
  if (rate == 0) {
    table.matrix.claim();
    rate = best_rate([&] { return peak_of(table).matrices(500'000); });
    table.matrix.release();
  }
  return rate;
}

}  // namespace bench
}  // namespace whimbrel
