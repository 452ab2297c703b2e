#include "cpu/kernel_choice.h"

#include <cstdlib>
#include <stdexcept>

namespace dbell {
namespace {

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
// __builtin_cpu_supports also looks at XCR0, that is, whether the operating system saves the wide registers.
bool host_has_avx2() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}
bool host_has_avx512vnni() {
  return host_has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vnni");
}
#else
[[maybe_unused]] bool host_has_avx2() { return false; }
[[maybe_unused]] bool host_has_avx512vnni() { return false; }
#endif

std::vector<const KernelTable*> find_kernels() {
  std::vector<const KernelTable*> tables{&generic_kernels()};
#ifdef DBELL_HAVE_avx2
  if (host_has_avx2()) tables.push_back(&avx2_kernels());
#endif
#ifdef DBELL_HAVE_avx512vnni
  if (host_has_avx512vnni()) tables.push_back(&avx512vnni_kernels());
#endif
  return tables;
}

}  // namespace

const std::vector<const KernelTable*>& available_kernels() {
  static const std::vector<const KernelTable*> tables = find_kernels();
  return tables;
}

const KernelTable& kernels_by_name(const std::string& name) {
  std::string known;
  for (const KernelTable* table : available_kernels()) {
    if (name == table->name) return *table;
    known += (known.empty() ? "" : ", ") + std::string(table->name);
  }
  throw std::invalid_argument("instruction set \"" + name + "\" cannot run on this machine; available: " + known);
}

const KernelTable& chosen_kernels() {
  const char* forced = std::getenv("DBELL_FORCE_ISA");
  if (forced == nullptr || *forced == '\0') return *available_kernels().back();
  try {
    return kernels_by_name(forced);
  } catch (const std::invalid_argument& error) {
    throw std::invalid_argument(std::string("DBELL_FORCE_ISA: ") + error.what());
  }
}

}  // namespace dbell
