#pragma once
#include "kernels/kernel_table.h"

// Functions of this folder by name; see kernel_table.h for what each computes.
namespace dbell::avx512vnni {
void grid(const PackedLinear&, const QuantizedActivations&, std::size_t, std::size_t, float*, std::size_t,
          std::int32_t*);
void structured(const PackedLinear&, const QuantizedActivations&, std::size_t, std::size_t, float*, std::size_t,
                std::int32_t*);
void expand(const PackedLinear&, std::size_t, std::size_t, const std::uint8_t*, float*);
void multiply(const float*, std::size_t, std::size_t, std::size_t, const float*, std::size_t, std::size_t, std::size_t,
              float*, std::size_t, bool);
void table_q8(const Table&, const TableActivations&, std::size_t, std::size_t, float*, std::size_t, std::int32_t*);
void table_packed(const Table&, const TableActivations&, std::size_t, std::size_t, float*, std::size_t, std::int32_t*);
}  // namespace dbell::avx512vnni
