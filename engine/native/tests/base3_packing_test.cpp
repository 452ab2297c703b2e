// Base-3 bytes against the plain definition of docs/format.md: strips of 20 columns, five digits a byte.
#include "common/base3_packing.h"

#include <random>
#include <vector>

#include "check.h"

using namespace dbell;

namespace {

struct Place {
  std::size_t byte, digit;
};

/// Where the code of a row and column stands; columns up to those that the last byte has room for.
Place place_of(std::size_t columns, std::size_t row, std::size_t column) {
  const std::size_t block = column / 128, whole = columns / 128;
  const std::size_t group_bytes = 16 * (26 * whole + (columns % 128 + 4) / 5);
  const std::size_t in_block = block < whole ? 128 : columns % 128, k = column % 128;
  const std::size_t strip = k / 20, left = (in_block - 20 * strip + 4) / 5, t = left < 4 ? left : 4;
  return {row / 16 * group_bytes + 416 * block + 64 * strip + t * (row % 16) + k % 20 % t, k % 20 / t};
}

int power_of_three(std::size_t exponent) { return exponent == 0 ? 1 : 3 * power_of_three(exponent - 1); }

}  // namespace

int main() {
  std::mt19937 random(7);
  for (const std::size_t rows : {1u, 15u, 16u, 17u, 130u}) {
    for (const std::size_t columns : {1u, 2u, 5u, 6u, 11u, 16u, 19u, 20u, 21u, 40u, 127u, 128u, 129u, 150u, 200u, 256u}) {
      std::vector<std::uint8_t> codes(rows * columns);
      for (auto& code : codes) code = static_cast<std::uint8_t>(random() % 3u);
      const std::size_t bytes = packed_base3_bytes(rows, columns);
      CHECK(bytes == (rows + 15) / 16 * 16 * (26 * (columns / 128) + (columns % 128 + 4) / 5));
      std::vector<std::uint8_t> expected(bytes), packed(bytes, 0xFF);
      for (std::size_t row = 0; row < rows; ++row) {
        for (std::size_t column = 0; column < columns; ++column) {
          const Place place = place_of(columns, row, column);
          const int digit = codes[row * columns + column] * power_of_three(place.digit);
          expected[place.byte] = static_cast<std::uint8_t>(expected[place.byte] + digit);
        }
      }
      pack_base3(codes.data(), rows, columns, packed.data());
      CHECK(packed == expected);
      std::vector<std::uint8_t> back(codes.size(), 0xFF);
      unpack_base3(packed.data(), rows, columns, back.data());
      CHECK(back == codes);
      CHECK(check_base3(packed.data(), rows, columns).kind == Base3Fault::Kind::none);

      packed[place_of(columns, rows - 1, columns - 1).byte] = 243;
      const Base3Fault large = check_base3(packed.data(), rows, columns);
      CHECK(large.kind == Base3Fault::Kind::byte_out_of_range && large.row == rows - 1 && large.code == 243);
      CHECK(large.column < columns);
      CHECK(has_base3_byte_out_of_range(packed.data(), bytes) && !has_base3_byte_out_of_range(expected.data(), bytes));
      // The unpacking of a bad byte stays within its arrays (sanitizers watch).
      unpack_base3(packed.data(), rows, columns, back.data());
      packed = expected;
      if (rows % 16 != 0) {
        packed[place_of(columns, rows, 0).byte] = 2;
        const Base3Fault fault = check_base3(packed.data(), rows, columns);
        CHECK(fault.kind == Base3Fault::Kind::padding_not_zero && fault.row == rows && fault.column == 0 &&
              fault.code == 2);
        packed = expected;
      }
      if (columns == 21 || columns == 129) {
        // One column in the last strip: its byte has four digits to spare.
        const std::size_t at = place_of(columns, 0, columns - 1).byte;
        packed[at] = static_cast<std::uint8_t>(packed[at] + 27);
        const Base3Fault fault = check_base3(packed.data(), rows, columns);
        CHECK(fault.kind == Base3Fault::Kind::padding_not_zero && fault.row == 0 && fault.column == columns + 2 &&
              fault.code == 1);
      }
    }
  }
  std::puts("base-3 packing: ok");
  return 0;
}
