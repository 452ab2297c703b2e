#pragma once
// Base-3 digits on x86. Digits come off a byte from the highest: what is left is v mod 3^k, and v − (v mod 3^k) is the
// digit times 3^k. Only bytes are added, compared and subtracted.

namespace dbell::DBELL_KERNEL_SET {
namespace {

constexpr int kDigitPowers[kDigitsPerByte] = {1, 3, 9, 27, 81};

/// What split_parts leaves of digit k is the digit times this.
#ifdef DBELL_DOT
constexpr int kPartFactors[kDigitsPerByte] = {1, 3, 9, 27, 81};
/// True where a block's sums of the part would not fit a Partial.
constexpr bool kIsWidePart[kDigitsPerByte] = {};
#else
// maddubs saturates at 2·162·127; digit 4 is taken as itself. A block's seven pairs of 2·18·127 are at most 32004, those
// of 2·54·127 more than int16 holds.
constexpr int kPartFactors[kDigitsPerByte] = {1, 3, 9, 27, 1};
constexpr bool kIsWidePart[kDigitsPerByte] = {false, false, false, true, false};
#endif

/// v mod `power` for v < 3·power: the smallest of v, v − power, v − 2·power as unsigned bytes, as those below zero wrap
/// around to more than v.
DBELL_INLINE Bytes reduce(Bytes v, int power) {
  return minimum(minimum(v, subtract_bytes(v, byte_of(power))), subtract_bytes(v, byte_of(2 * power)));
}

/// ⌊v / power⌋ for v < 3·power.
DBELL_INLINE Bytes digit_of(Bytes v, int power) {
  return add_bytes(minimum(subtract_to_zero(v, byte_of(power - 1)), byte_of(1)),
                   minimum(subtract_to_zero(v, byte_of(2 * power - 1)), byte_of(1)));
}

DBELL_INLINE void split_digits(Bytes value, Bytes* digits) {
  unroll<static_cast<int>(kDigitsPerByte) - 1>([&](auto i) DBELL_INLINE_LAMBDA {
    constexpr int k = static_cast<int>(kDigitsPerByte) - 1 - i;
    digits[k] = digit_of(value, kDigitPowers[k]);
    value = reduce(value, kDigitPowers[k]);
  });
  digits[0] = value;
}

/// Digits times kPartFactors, as operands of add_products.
DBELL_INLINE void split_parts(Bytes value, Bytes* parts) {
  unroll<static_cast<int>(kDigitsPerByte) - 1>([&](auto i) DBELL_INLINE_LAMBDA {
    constexpr int k = static_cast<int>(kDigitsPerByte) - 1 - i;
    const Bytes rest = reduce(value, kDigitPowers[k]);
    parts[k] = kPartFactors[k] == 1 ? digit_of(value, kDigitPowers[k]) : subtract_bytes(value, rest);
    value = rest;
  });
  parts[0] = value;
}

}  // namespace
}  // namespace dbell::DBELL_KERNEL_SET
