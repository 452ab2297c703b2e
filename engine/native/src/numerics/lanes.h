#pragma once
// Vectors for the loops in numerics/loops, which are compiled once for each instruction set.
//
// Everything here works element by element: no fused multiply-add (the build forbids contraction), no sum over the elements of a vector. So an element's
// value does not depend on how many elements a vector has, and every instruction set gives the same bytes.
//
// Only for numerics/loops: all functions are internal to their translation unit.
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace dbell::numerics {
namespace {

#if defined(__GNUC__)
#if defined(__AVX512F__)
constexpr int vector_bytes = 64;
#elif defined(__AVX2__)
constexpr int vector_bytes = 32;
#else
constexpr int vector_bytes = 16;
#endif
#define DBELL_INLINE inline __attribute__((always_inline))

/// Elements of a FloatVector; the rows that a tile of numerics/loops treats at once.
constexpr int lanes = vector_bytes / 4;
typedef float FloatVector __attribute__((vector_size(vector_bytes)));
typedef std::int32_t IntVector __attribute__((vector_size(vector_bytes)));
typedef double DoubleVector __attribute__((vector_size(vector_bytes)));

DBELL_INLINE FloatVector broadcast(float value) { return FloatVector{} + value; }
DBELL_INLINE DoubleVector broadcast(double value) { return DoubleVector{} + value; }
DBELL_INLINE FloatVector select(IntVector condition, FloatVector yes, FloatVector no) { return condition ? yes : no; }
DBELL_INLINE FloatVector absolute(FloatVector value) { return (FloatVector)((IntVector)value & 0x7FFFFFFF); }
/// Towards zero.
DBELL_INLINE FloatVector truncated(FloatVector value) {
  return __builtin_convertvector(__builtin_convertvector(value, IntVector), FloatVector);
}
DBELL_INLINE IntVector to_int(FloatVector value) { return __builtin_convertvector(value, IntVector); }
#else
// A compiler without vector extensions: one element at a time.
#define DBELL_INLINE inline
constexpr int lanes = 1;
typedef float FloatVector;
typedef std::int32_t IntVector;
typedef double DoubleVector;
DBELL_INLINE FloatVector broadcast(float value) { return value; }
DBELL_INLINE DoubleVector broadcast(double value) { return value; }
DBELL_INLINE FloatVector select(IntVector condition, FloatVector yes, FloatVector no) { return condition ? yes : no; }
DBELL_INLINE FloatVector absolute(FloatVector value) { return value < 0 ? -value : value; }
DBELL_INLINE FloatVector truncated(FloatVector value) { return static_cast<float>(static_cast<std::int32_t>(value)); }
DBELL_INLINE IntVector to_int(FloatVector value) { return static_cast<std::int32_t>(value); }
#endif

template <class Scalar>
struct VectorOf;
template <>
struct VectorOf<float> {
  using type = FloatVector;
};
template <>
struct VectorOf<double> {
  using type = DoubleVector;
};

/// Unaligned load and store of a whole vector.
DBELL_INLINE FloatVector load(const float* from) {
  FloatVector value;
  std::memcpy(&value, from, sizeof value);
  return value;
}
DBELL_INLINE DoubleVector load(const double* from) {
  DoubleVector value;
  std::memcpy(&value, from, sizeof value);
  return value;
}
DBELL_INLINE void store(float* to, FloatVector value) { std::memcpy(to, &value, sizeof value); }
DBELL_INLINE void store(double* to, DoubleVector value) { std::memcpy(to, &value, sizeof value); }
DBELL_INLINE void store(std::int32_t* to, IntVector value) { std::memcpy(to, &value, sizeof value); }

DBELL_INLINE FloatVector minimum(FloatVector a, FloatVector b) { return select(b < a, b, a); }
DBELL_INLINE FloatVector maximum(FloatVector a, FloatVector b) { return select(b > a, b, a); }

}  // namespace
}  // namespace dbell::numerics
