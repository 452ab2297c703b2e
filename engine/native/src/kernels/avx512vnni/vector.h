#pragma once
// Loads and counts that several kernels of this instruction set share. Everything has internal linkage: nothing compiled
// here may be merged with code for other CPUs.
#include <immintrin.h>

#include "kernels/packed_linear.h"

namespace dbell::avx512vnni {
namespace {

/// Decoding one token streams the weights once; without a hint the memory latency shows.
constexpr std::size_t kPrefetchBytes = 4096;

inline __m512 half_row(const std::uint16_t* values) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(values)));
}

inline std::size_t lines_of_block(const PackedLinear& linear, std::size_t block) {
  const std::size_t left = linear.lines - block * kLinesPerBlock;
  return left < kLinesPerBlock ? left : kLinesPerBlock;
}

inline __m512i broadcast_quad(const std::int8_t* x) {
  int quad;
  __builtin_memcpy(&quad, x, sizeof quad);
  return _mm512_set1_epi32(quad);
}

}  // namespace
}  // namespace dbell::avx512vnni
