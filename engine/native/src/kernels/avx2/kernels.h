#pragma once
#include <cstddef>
#include <cstdint>

// Functions of this folder by name; see kernel_table.h for what each computes.
namespace dbell::avx2 {
float quantize(const float*, const float*, std::size_t, int, std::int8_t*);
void exponentials(float*, std::size_t, float);
}  // namespace dbell::avx2
