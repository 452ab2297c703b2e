#include "cpu/kernel_choice.h"

#include <cstdlib>
#include <stdexcept>

#include "cpu/cpu_features.h"

namespace dbell {
namespace {

std::vector<const KernelTable*> find_kernels() {
  std::vector<const KernelTable*> tables{&generic_kernels()};
  [[maybe_unused]] const X86Features x86 = x86_features();
#ifdef DBELL_HAVE_sse41
  if (x86.sse41) tables.push_back(&sse41_kernels());
#endif
#ifdef DBELL_HAVE_avx2
  if (x86.avx2) tables.push_back(&avx2_kernels());
#endif
#ifdef DBELL_HAVE_avx512
  if (x86.avx512) tables.push_back(&avx512_kernels());
#endif
#ifdef DBELL_HAVE_avxvnni
  if (x86.avxvnni) tables.push_back(&avxvnni_kernels());
#endif
#ifdef DBELL_HAVE_avx512vnni
  if (x86.avx512vnni) tables.push_back(&avx512vnni_kernels());
#endif
#ifdef DBELL_HAVE_neon
  tables.push_back(&neon_kernels());  // part of every 64-bit ARM processor
#endif
#ifdef DBELL_HAVE_neon_dot
  if (has_neon_dot_product()) tables.push_back(&neon_dot_kernels());
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
