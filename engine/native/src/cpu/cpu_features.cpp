#include "cpu/cpu_features.h"

#include <cstdint>

#if defined(__x86_64__) || defined(_M_X64)
#define DBELL_IS_X86
#ifdef _MSC_VER
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#endif

#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
#elif defined(_M_ARM64)
#include <windows.h>
#endif

namespace dbell {

#ifdef DBELL_IS_X86
namespace {

struct Registers {
  std::uint32_t eax, ebx, ecx, edx;
};

/// All zero where the processor has no such leaf.
Registers cpuid(std::uint32_t leaf, std::uint32_t subleaf) {
  Registers r = {};
#ifdef _MSC_VER
  int values[4];
  __cpuid(values, 0);
  if (static_cast<std::uint32_t>(values[0]) < leaf) return r;
  __cpuidex(values, static_cast<int>(leaf), static_cast<int>(subleaf));
  r = {static_cast<std::uint32_t>(values[0]), static_cast<std::uint32_t>(values[1]),
       static_cast<std::uint32_t>(values[2]), static_cast<std::uint32_t>(values[3])};
#else
  __get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx);
#endif
  return r;
}

/// Register states that the operating system saves (XCR0); asked for only where OSXSAVE is set.
std::uint64_t saved_states() {
#ifdef _MSC_VER
  return _xgetbv(0);
#else
  std::uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<std::uint64_t>(high) << 32) | low;
#endif
}

constexpr bool has_bit(std::uint32_t value, int bit) { return (value >> bit) & 1u; }

}  // namespace

X86Features x86_features() {
  const Registers basic = cpuid(1, 0), extended = cpuid(7, 0), more = cpuid(7, 1);
  X86Features features = {};
  features.sse41 = has_bit(basic.ecx, 19) && has_bit(basic.ecx, 9);  // with SSSE3
  const bool has_xsave = has_bit(basic.ecx, 27);
  const std::uint64_t states = has_xsave ? saved_states() : 0;
  constexpr std::uint64_t kYmmStates = 0x6, kZmmStates = 0xE6;
  const bool saves_ymm = (states & kYmmStates) == kYmmStates, saves_zmm = (states & kZmmStates) == kZmmStates;
  const bool has_fma = has_bit(basic.ecx, 12), has_f16c = has_bit(basic.ecx, 29);
  features.avx2 = saves_ymm && has_fma && has_f16c && has_bit(extended.ebx, 5);
  features.avxvnni = features.avx2 && has_bit(more.eax, 4);
  features.avx512 = features.avx2 && saves_zmm && has_bit(extended.ebx, 16) && has_bit(extended.ebx, 17) &&
                    has_bit(extended.ebx, 30) && has_bit(extended.ebx, 31);
  features.avx512vnni = features.avx512 && has_bit(extended.ecx, 11);
  return features;
}
#else
X86Features x86_features() { return {}; }
#endif

bool has_neon_dot_product() {
#if defined(__aarch64__) && defined(__linux__)
  constexpr unsigned long kDotProduct = 1ul << 20;  // HWCAP_ASIMDDP
  return (getauxval(AT_HWCAP) & kDotProduct) != 0;
#elif defined(__aarch64__) && defined(__APPLE__)
  int value = 0;
  std::size_t size = sizeof value;
  return sysctlbyname("hw.optional.arm.FEAT_DotProd", &value, &size, nullptr, 0) == 0 && value != 0;
#elif defined(_M_ARM64)
  constexpr DWORD kDotProduct = 43;  // PF_ARM_V82_DP_INSTRUCTIONS_AVAILABLE
  return IsProcessorFeaturePresent(kDotProduct) != 0;
#else
  return false;
#endif
}

}  // namespace dbell
