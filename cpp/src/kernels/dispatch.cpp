// Chooses the instruction set once. Compiled for the baseline.
#include "kernels/dispatch.hpp"

#include <cstdlib>
#include <stdexcept>
#include <string>

#include "whimbrel/cpu_isa.hpp"

#ifdef WHIMBREL_HAVE_AMX
#include <cpuid.h>
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

#ifdef WHIMBREL_HAVE_AMX
namespace {

/// Whether the processor has the matrix unit and Linux lets this process use its registers (the kernel's
/// Documentation/arch/x86/xstate.rst). Threads started later inherit the permission.
bool amx_granted() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
  const bool unit = (d >> 22 & 1u) != 0 && (d >> 24 & 1u) != 0;  // AMX-BF16, AMX-TILE
  if (!unit || !__get_cpuid_count(7, 1, &a, &b, &c, &d) || (a >> 5 & 1u) == 0) return false;  // AVX512_BF16
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

}  // namespace
#endif

std::vector<const KernelTable*> available_tables() {
  std::vector<const KernelTable*> tables;
#ifdef WHIMBREL_HAVE_BASELINE
  tables.push_back(&baseline::kTable);
#endif
  // The compiler's check asks the operating system too (XGETBV), not only the processor.
#ifdef WHIMBREL_HAVE_AVX2
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) tables.push_back(&avx2::kTable);
#endif
#ifdef WHIMBREL_HAVE_AVX512
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512vnni")) {
    tables.push_back(&avx512::kTable);
#ifdef WHIMBREL_HAVE_AMX
    if (amx_granted()) tables.push_back(&amx::kTable);
#endif
  }
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
