#pragma once
// Functions of one instruction set by name; kernel_table.h says what each computes. DBELL_KERNEL_SET is the set.
#include "kernels/kernel_table.h"

namespace dbell::DBELL_KERNEL_SET {

void grid(const PackedLinear&, const QuantizedActivations&, std::size_t, std::size_t, float*, std::size_t,
          std::int32_t*);
void structured(const PackedLinear&, const QuantizedActivations&, std::size_t, std::size_t, float*, std::size_t,
                std::int32_t*);
void expand(const PackedLinear&, std::size_t, std::size_t, const std::uint8_t*, float*);
void expand_table(const Table&, std::size_t, std::size_t, std::size_t, float*);
void multiply(const float*, std::size_t, std::size_t, std::size_t, const float*, std::size_t, std::size_t, std::size_t,
              float*, std::size_t, bool);
void table_q8(const Table&, const TableActivations&, std::size_t, std::size_t, float*, std::size_t, std::int32_t*);
void table_packed(const Table&, const TableActivations&, std::size_t, std::size_t, float*, std::size_t, std::int32_t*);
/// In every set but those that call avx2's (vector_functions.cpp).
float quantize(const float*, const float*, std::size_t, int, std::int8_t*);
void exponentials(float*, std::size_t, float);
void softmax(float*, std::size_t, const SeenPositions*, SoftmaxState*, float*);
void expand_halves(const std::uint16_t*, std::size_t, float*);
void expand_codes(const std::int8_t*, const float*, std::size_t, float*);

/// Codes of three levels in base 3 of one row group and block as bytes, [32 quads, 16 rows, 4 columns], zero behind the
/// block's last column.
void unpack_base3(const PackedLinear&, std::size_t group, std::size_t block, std::uint8_t* codes);
/// One token through one row group whose codes stand in base 3, as `grid`.
void decode_base3(const PackedLinear&, const QuantizedActivations&, std::size_t group, float* y,
                  std::int32_t* integers);

/// In sets that have tables of sums (DBELL_HAS_SUM_TABLES). `decode_…` take one token, with its tables, through row groups
/// from `begin` on, as `grid` and `structured`, and return the first group that they left.
void make_sum_tables(const std::int8_t*, std::size_t, std::uint8_t*, std::int32_t*);
std::size_t decode_by_sum_tables(const PackedLinear&, const QuantizedActivations&, std::size_t begin, std::size_t end,
                                 float* y, std::int32_t* integers);
std::size_t decode_structured_by_sum_tables(const PackedLinear&, const QuantizedActivations&, std::size_t begin,
                                            std::size_t end, float* y, std::int32_t* integers);

}  // namespace dbell::DBELL_KERNEL_SET
