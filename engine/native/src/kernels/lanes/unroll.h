#pragma once
// Loops that leave no loop behind: registers must not be chosen by an index that is known at run time only.

#if defined(_MSC_VER) && !defined(__clang__)
#define DBELL_INLINE __forceinline
#define DBELL_INLINE_LAMBDA
#define DBELL_NO_INLINE __declspec(noinline) inline
#else
#define DBELL_INLINE inline __attribute__((always_inline))
#define DBELL_INLINE_LAMBDA __attribute__((always_inline))
#define DBELL_NO_INLINE __attribute__((noinline, unused))
#endif

namespace dbell::DBELL_KERNEL_SET {
namespace {

/// An index that is known when its code is compiled.
template <int n>
struct Index {
  constexpr operator int() const { return n; }
};

template <int first, int last, class Body>
DBELL_INLINE void unroll_between(const Body& body) {
  if constexpr (first < last) {
    body(Index<first>{});
    unroll_between<first + 1, last>(body);
  }
}

/// body(Index<0>), …, body(Index<count − 1>), without a loop.
template <int count, class Body>
DBELL_INLINE void unroll(const Body& body) {
  unroll_between<0, count>(body);
}

}  // namespace
}  // namespace dbell::DBELL_KERNEL_SET
