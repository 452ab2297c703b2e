#pragma once
// Keys and values of one block for a stretch of positions, as float32, float16, or int8 with a step for each position and
// head. Whatever they are stored as, the attention reads them as float32, so that its order of operations is one.
#include <cstddef>
#include <cstdint>

#include "kernels/kernel_table.h"
#include "runtime/aligned_buffer.h"

namespace dbell {

enum class CacheType { float32, float16, int8 };

/// Keys that stand side by side in a tile of the cache, so that scores are a panel product (kernel_table.h, multiply).
constexpr std::size_t kKeysPerTile = kRowsPerGroup;

/// Keys and values of kPositionsPerSegment positions. Keys: [heads, 8 tiles, head size, 16 keys]; values: [heads, 128,
/// padded head size].
class CacheSegment {
 public:
  /// Throws std::bad_alloc.
  CacheSegment(CacheType type, std::size_t heads, std::size_t head_size);

  std::size_t bytes() const;

  /// Stores one head's key and value, [head_size] each, at a position of the segment. As float16 they are rounded to the
  /// nearest, ties to even; as int8 x ≈ step·code, step = max|x| / 127 (kernel_table.h, quantize). Throws RuntimeError
  /// `invalid-input` where a finite value is beyond float16.
  void store(const KernelTable& kernels, std::size_t head, std::size_t position, const float* key, const float* value);

  /// Key tiles of a head, [tiles, head size, 16]: where they stand, or expanded into `scratch` (room for as many floats).
  const float* keys(const KernelTable& kernels, std::size_t head, std::size_t tiles, float* scratch) const;
  /// Values of a head's first `positions` positions, [positions, padded head size], likewise.
  const float* values(const KernelTable& kernels, std::size_t head, std::size_t positions, float* scratch) const;

 private:
  /// One of keys and values.
  struct Store {
    AlignedBuffer<float> floats;
    AlignedBuffer<std::uint16_t> halves;
    AlignedBuffer<std::int8_t> codes;
    AlignedBuffer<float> steps;  ///< [heads, 128], of codes
    std::size_t bytes() const { return floats.bytes() + halves.bytes() + codes.bytes() + steps.bytes(); }
  };

  void reserve(Store& store, std::size_t count) const;
  /// Where a position's key of a head begins; its elements stand kKeysPerTile apart.
  std::size_t key_at(std::size_t head, std::size_t position) const {
    return (head * kPositionsPerSegment + position) / kKeysPerTile * head_size_ * kKeysPerTile + position % kKeysPerTile;
  }
  void put(const KernelTable& kernels, Store& store, std::size_t first, std::size_t stride, std::size_t step_at,
           const float* x, const char* what) const;

  CacheType type_;
  std::size_t heads_, head_size_, value_size_;
  Store keys_, values_;
};

}  // namespace dbell
