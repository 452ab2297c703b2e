#pragma once
// What the processor and the operating system let this process use.

namespace dbell {

/// Instruction sets of x86-64; a wide one counts only where the operating system saves its registers. All false on other
/// processors.
struct X86Features {
  bool sse41;
  bool avx2;        ///< with FMA and F16C
  bool avxvnni;     ///< 256-bit dpbusd without AVX-512
  bool avx512;      ///< F, BW, VL, DQ
  bool avx512vnni;
};
X86Features x86_features();

/// True on ARM processors whose NEON has the dot product of bytes (sdot).
bool has_neon_dot_product();

}  // namespace dbell
