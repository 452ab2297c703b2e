#pragma once
// Bit planes to fields. A register of one plane has a bit for each of eight quads in every byte; the lines of several
// planes are interleaved so that a quad's bits stand beside each other, as many steps as there are powers of two.
#include "kernels/lanes/lanes.h"

namespace dbell::DBELL_KERNEL_SET {
namespace {

/// Planes that are taken together; codes of more planes are computed in digits of four planes.
constexpr int kPlanesPerDigit = 4;

template <int planes>
constexpr int kFieldWidth = planes <= 2 ? planes : 4;

/// Groups of `step` bits, even ones of `a` then of `b` to `even`, odd ones to `odd`.
template <int step>
DBELL_INLINE void interleave(Bytes a, Bytes b, Bytes& even, Bytes& odd) {
  const Bytes mask = byte_of(step == 1 ? 0x55 : 0x33);
  even = select(mask, a, shift_left<step>(b));
  odd = select(mask, shift_right<step>(a), b);
}

/// The registers of `planes` planes, 1 … 4, kLineBytes apart from `line` on, to kFieldWidth registers of fields of
/// kFieldWidth bits: quad q is in register q mod kFieldWidth, from bit q − q mod kFieldWidth on.
template <int planes>
DBELL_INLINE void load_fields(const std::uint8_t* line, Bytes* fields) {
  if constexpr (planes == 1) {
    fields[0] = load_bytes(line);
  } else if constexpr (planes == 2) {
    interleave<1>(load_bytes(line), load_bytes(line + kLineBytes), fields[0], fields[1]);
  } else {
    Bytes low[2], high[2];
    const Bytes last = planes == 4 ? load_bytes(line + (planes - 1) * kLineBytes) : zero_bytes();
    interleave<1>(load_bytes(line), load_bytes(line + kLineBytes), low[0], low[1]);
    interleave<1>(load_bytes(line + 2 * kLineBytes), last, high[0], high[1]);
    interleave<2>(low[0], high[0], fields[0], fields[2]);
    interleave<2>(low[1], high[1], fields[1], fields[3]);
  }
}

}  // namespace
}  // namespace dbell::DBELL_KERNEL_SET
