#pragma once
#include "kernels/kernel_table.h"

// Functions of this folder by name; see kernel_table.h for what each computes. The AVX-512 table takes over those that
// gain nothing from wider registers.
namespace dbell::avx2 {
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
float quantize(const float*, const float*, std::size_t, int, std::int8_t*);
void exponentials(float*, std::size_t, float);
}  // namespace dbell::avx2
