#pragma once
// The making of a table of sums (vector/sum_tables.cpp) on x86, for sets of every width.
#include <smmintrin.h>

namespace dbell::DBELL_KERNEL_SET {
namespace {

/// Sums over the subsets of x[0], x[4], x[8], x[12], less the least of them; entry i has the activations whose bits are
/// set in i. Their `lower_bits` lowest bits go to entries 0 … 15, the others to 16 … 31. Returns the least sum.
template <int lower_bits>
DBELL_INLINE int fill_sum_table(const std::int8_t* x, std::uint8_t* entries) {
  const int least = (x[0] < 0 ? x[0] : 0) + (x[4] < 0 ? x[4] : 0) + (x[8] < 0 ? x[8] : 0) + (x[12] < 0 ? x[12] : 0);
  // Words: entries 0 … 7, then 8 … 15.
  const __m128i first = _mm_and_si128(_mm_set1_epi16(x[0]), _mm_setr_epi16(0, -1, 0, -1, 0, -1, 0, -1));
  const __m128i second = _mm_and_si128(_mm_set1_epi16(x[4]), _mm_setr_epi16(0, 0, -1, -1, 0, 0, -1, -1));
  const __m128i third = _mm_and_si128(_mm_set1_epi16(x[8]), _mm_setr_epi16(0, 0, 0, 0, -1, -1, -1, -1));
  const __m128i low = _mm_sub_epi16(_mm_add_epi16(_mm_add_epi16(first, second), third),
                                    _mm_set1_epi16(static_cast<short>(least)));
  const __m128i high = _mm_add_epi16(low, _mm_set1_epi16(x[12]));
  const __m128i mask = _mm_set1_epi16((1 << lower_bits) - 1);
  _mm_store_si128(reinterpret_cast<__m128i*>(entries),
                  _mm_packus_epi16(_mm_and_si128(low, mask), _mm_and_si128(high, mask)));
  _mm_store_si128(reinterpret_cast<__m128i*>(entries + 16),
                  _mm_packus_epi16(_mm_srli_epi16(low, lower_bits), _mm_srli_epi16(high, lower_bits)));
  return least;
}

}  // namespace
}  // namespace dbell::DBELL_KERNEL_SET
