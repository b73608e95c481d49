// Chooses the instruction set once. Compiled for the baseline.
#include "kernels/dispatch.hpp"

#include <algorithm>
#include <cstdlib>
#include <initializer_list>
#include <stdexcept>
#include <string>

#include "whimbrel/cpu_isa.hpp"

#ifdef WHIMBREL_HAVE_AVX2
#include <cpuid.h>
#endif
#ifdef WHIMBREL_HAVE_AMX
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace whimbrel::kernels {

#define WHIMBREL_DECLARE_TABLE(isa) \
  namespace isa {                   \
  extern const KernelTable kTable;  \
  }
#ifdef WHIMBREL_HAVE_BASELINE
WHIMBREL_DECLARE_TABLE(baseline)
#endif
#ifdef WHIMBREL_HAVE_AVX2
WHIMBREL_DECLARE_TABLE(avx2)
#endif
#ifdef WHIMBREL_HAVE_AVX512
WHIMBREL_DECLARE_TABLE(avx512)
#endif
#ifdef WHIMBREL_HAVE_AMX
WHIMBREL_DECLARE_TABLE(amx)
#endif
#ifdef WHIMBREL_HAVE_NEON
WHIMBREL_DECLARE_TABLE(neon)
#endif
#undef WHIMBREL_DECLARE_TABLE

namespace {

#ifdef WHIMBREL_HAVE_AVX2
/// What the processor has and the operating system saves when it switches threads. Asked here: the compilers'
/// __builtin_cpu_supports wants a library that clang-cl does not link.
struct Processor {
  bool avx2 = false, avx512 = false, bfloat16_matrices = false;

  Processor() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    const auto has = [](unsigned word, std::initializer_list<int> bits) {
      return std::all_of(bits.begin(), bits.end(), [&](int bit) { return (word >> bit & 1u) != 0; });
    };
    if (!__get_cpuid(1, &a, &b, &c, &d) || !has(c, {12, 27, 28})) return;  // FMA, XGETBV, AVX
    unsigned saved = 0, upper = 0;
    __asm__ volatile("xgetbv" : "=a"(saved), "=d"(upper) : "c"(0));
    if (!has(saved, {1, 2}) || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return;  // xmm, ymm
    avx2 = has(b, {5});
    // F, DQ, BW, VL and VNNI; masks, upper halves of 16 registers, 16 more registers.
    avx512 = avx2 && has(b, {16, 17, 30, 31}) && has(c, {11}) && has(saved, {5, 6, 7});
    const bool unit = has(d, {22, 24});  // AMX-BF16, AMX-TILE
    bfloat16_matrices =
        avx512 && unit && __get_cpuid_count(7, 1, &a, &b, &c, &d) && has(a, {5});  // AVX512-BF16
  }
};
#endif

#ifdef WHIMBREL_HAVE_AMX
/// Whether Linux lets this process use the registers of the matrix unit (the kernel's
/// Documentation/arch/x86/xstate.rst). Threads started later inherit the permission.
bool amx_granted() {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}
#endif

}  // namespace

std::vector<const KernelTable*> available_tables() {
  std::vector<const KernelTable*> tables;
#ifdef WHIMBREL_HAVE_BASELINE
  tables.push_back(&baseline::kTable);
#endif
#ifdef WHIMBREL_HAVE_AVX2
  const Processor processor;
  if (processor.avx2) tables.push_back(&avx2::kTable);
#endif
#ifdef WHIMBREL_HAVE_AVX512
  if (processor.avx512) tables.push_back(&avx512::kTable);
#endif
#ifdef WHIMBREL_HAVE_AMX
  if (processor.bfloat16_matrices && amx_granted()) tables.push_back(&amx::kTable);
#endif
#ifdef WHIMBREL_HAVE_NEON
  tables.push_back(&neon::kTable);
#endif
  return tables;
}

namespace {

const KernelTable& choose() {
  const auto tables = available_tables();
  const char* wanted = std::getenv("WHIMBREL_ISA");
  if (wanted == nullptr || *wanted == '\0') return *tables.back();
  std::string names;
  for (const KernelTable* table : tables) {
    if (std::string(wanted) == table->isa) return *table;
    names += names.empty() ? table->isa : std::string(" or ") + table->isa;
  }
  throw std::invalid_argument("WHIMBREL_ISA: expected " + names + " on this machine, got " + wanted);
}

}  // namespace

const KernelTable& active_table() {
  static const KernelTable& table = choose();
  return table;
}

}  // namespace whimbrel::kernels

namespace whimbrel {

std::vector<std::string> available_isas() {
  std::vector<std::string> names;
  for (const auto* table : kernels::available_tables()) names.emplace_back(table->isa);
  return names;
}

std::string active_isa() { return kernels::active_table().isa; }

}  // namespace whimbrel
