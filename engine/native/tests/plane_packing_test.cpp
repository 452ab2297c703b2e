// Packed planes against the plain definition: byte 4·row + j, bit b of a line ↔ column 4b + j.
#include "common/plane_packing.h"

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "check.h"
#include "common/half.h"

using namespace dbell;

static int code_by_definition(const std::vector<std::uint8_t>& bytes, std::size_t columns, int planes, std::size_t row,
                              std::size_t column) {
  const std::size_t lines = (columns + 31) / 32;
  int code = 0;
  for (int plane = 0; plane < planes; ++plane) {
    const std::size_t line = ((row / 16) * lines + column / 32) * static_cast<std::size_t>(planes) +
                             static_cast<std::size_t>(plane);
    const std::size_t c = column % 32;
    const std::uint8_t byte = bytes[line * 64 + 4 * (row % 16) + c % 4];
    code |= ((byte >> (c / 4)) & 1) << plane;
  }
  return code;
}

int main() {
  std::mt19937 random(7);
  for (const std::size_t rows : {1u, 15u, 16u, 17u, 130u}) {
    for (const std::size_t columns : {1u, 31u, 32u, 33u, 127u, 200u}) {
      for (int planes = 1; planes <= 8; ++planes) {
        const int levels = (1 << planes) - (planes > 1 ? 1 : 0);
        std::vector<std::uint8_t> codes(rows * columns);
        for (auto& code : codes) code = static_cast<std::uint8_t>(random() % static_cast<unsigned>(levels));
        std::vector<std::uint8_t> packed(packed_plane_bytes(rows, columns, planes), 0xFF);
        pack_planes(codes.data(), rows, columns, planes, packed.data());
        for (std::size_t row = 0; row < (rows + 15) / 16 * 16; ++row) {
          for (std::size_t column = 0; column < (columns + 31) / 32 * 32; ++column) {
            const int expected = row < rows && column < columns ? codes[row * columns + column] : 0;
            CHECK(code_by_definition(packed, columns, planes, row, column) == expected);
          }
        }
        std::vector<std::uint8_t> back(codes.size(), 0xFF);
        unpack_planes(packed.data(), rows, columns, planes, back.data());
        CHECK(back == codes);
        CHECK(check_planes(packed.data(), rows, columns, planes, levels).kind == PlaneFault::Kind::none);
        if (planes > 1) {
          auto bad = codes;
          bad[rows * columns - 1] = static_cast<std::uint8_t>(levels);
          pack_planes(bad.data(), rows, columns, planes, packed.data());
          const PlaneFault fault = check_planes(packed.data(), rows, columns, planes, levels);
          CHECK(fault.kind == PlaneFault::Kind::code_out_of_range);
          CHECK(fault.row == rows - 1 && fault.column == columns - 1 && fault.code == levels);
          pack_planes(codes.data(), rows, columns, planes, packed.data());
        }
        if (columns % 32 != 0) {
          packed[(columns / 32 * static_cast<std::size_t>(planes)) * 64 + 3] |= 0x80;  // row 0, column 31 of the line
          const PlaneFault fault = check_planes(packed.data(), rows, columns, planes, 1 << planes);
          CHECK(fault.kind == PlaneFault::Kind::padding_not_zero && fault.row == 0);
          CHECK(fault.column == columns / 32 * 32 + 31);
        }
      }
    }
  }

  const std::vector<float> values = {0.0f, -0.0f, 1.0f, 65504.0f, 65519.99f, 65520.0f};
  std::vector<std::uint16_t> halfs(values.size());
  CHECK(floats_to_halfs(values.data(), values.size(), halfs.data()) == 5);
  CHECK(halfs[4] == 0x7BFF && halfs[1] == 0x8000);
  halfs[5] = 0x7C00;
  CHECK(first_non_finite_half(halfs.data(), halfs.size()) == 5);

  const std::size_t rows = 5, columns = 70, groups = 3;
  std::vector<float> table(rows * columns);
  std::normal_distribution<float> normal(0, 1);
  for (auto& value : table) value = normal(random);
  for (std::size_t c = 0; c < columns; ++c) {
    table[1 * columns + c] = 0;
    table[2 * columns + c] = 3e-7f * static_cast<float>(c);
  }
  std::vector<std::int8_t> codes(rows * groups * 32);
  std::vector<std::uint16_t> scales(rows * groups);
  CHECK(quantize_table_8(table.data(), rows, columns, codes.data(), scales.data()) == table.size());
  std::vector<float> back(table.size());
  dequantize_table_8(codes.data(), scales.data(), rows, columns, back.data());
  for (std::size_t i = 0; i < table.size(); ++i) {
    const float scale = half_to_float(scales[i / columns * groups + i % columns / 32]);
    CHECK(std::fabs(back[i] - table[i]) <= 0.5001f * scale);
  }
  for (std::size_t row = 0; row < rows; ++row) {
    for (std::size_t c = columns; c < groups * 32; ++c) CHECK(codes[row * groups * 32 + c] == 0);
  }
  table[3 * columns + 5] = std::numeric_limits<float>::quiet_NaN();
  CHECK(quantize_table_8(table.data(), rows, columns, codes.data(), scales.data()) == 3 * columns + 5);
  table[3 * columns + 5] = 1e9f;
  CHECK(quantize_table_8(table.data(), rows, columns, codes.data(), scales.data()) == 3 * columns + 5);
  std::puts("plane packing: ok");
  return 0;
}
