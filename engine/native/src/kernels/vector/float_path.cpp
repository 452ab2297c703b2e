// Float path: codes and tables to float32 weights, and the panel product.
#include "kernels/vector/fields.h"
#include "kernels/vector/kernels.h"
#include "kernels/vector/structured_levels.h"

namespace dbell::DBELL_KERNEL_SET {
namespace {

/// C tile of `count` rows × `panels` panels of 16 columns; the sum of each element runs over k ascending.
template <int count, int panels>
inline void multiply_tile(const float* a, std::size_t lda, std::size_t depth, const float* b, std::size_t ldb,
                          std::size_t panel_stride, float* c, std::size_t ldc, bool accumulate) {
  constexpr int columns = panels * kRegisters;
  Floats sums[count][columns];
  unroll<count>([&](auto t) DBELL_INLINE_LAMBDA {
    unroll<columns>([&](auto i) DBELL_INLINE_LAMBDA {
      sums[t][i] = accumulate ? load_floats(c + t * ldc + i * kLanes) : zero_floats();
    });
  });
  for (std::size_t k = 0; k < depth; ++k) {
    Floats weights[columns];
    unroll<columns>([&](auto i) DBELL_INLINE_LAMBDA {
      weights[i] = load_floats(b + i / kRegisters * panel_stride + k * ldb + i % kRegisters * kLanes);
    });
    unroll<count>([&](auto t) DBELL_INLINE_LAMBDA {
      const Floats x = float_of(a[t * lda + k]);
      unroll<columns>([&](auto i) DBELL_INLINE_LAMBDA { sums[t][i] = multiply_add(x, weights[i], sums[t][i]); });
    });
  }
  unroll<count>([&](auto t) DBELL_INLINE_LAMBDA {
    unroll<columns>([&](auto i) DBELL_INLINE_LAMBDA { store_floats(c + t * ldc + i * kLanes, sums[t][i]); });
  });
}

/// Rows of A and C and panels of B as kernel_table.h's multiply takes them.
struct Product {
  const float* a;
  std::size_t lda, tokens, depth;
  const float* b;
  std::size_t ldb, panel_stride, panels;
  float* c;
  std::size_t ldc;
  bool accumulate;
};

/// Tokens from `first` on in tiles of `count` tokens, as far as those fill, and `panels` panels; returns the first token
/// that is left.
template <int count, int panels>
std::size_t multiply_tiles(const Product& product, std::size_t first) {
  const std::size_t end = first + (product.tokens - first) / count * count;
  const auto multiply_panels = [&](auto width, std::size_t panel) {
    for (std::size_t t = first; t < end; t += count) {
      multiply_tile<count, width>(product.a + t * product.lda, product.lda, product.depth,
                                  product.b + panel * product.panel_stride, product.ldb, product.panel_stride,
                                  product.c + t * product.ldc + panel * kRowsPerGroup, product.ldc, product.accumulate);
    }
  };
  std::size_t panel = 0;
  for (; panel + panels <= product.panels; panel += panels) multiply_panels(Index<panels>{}, panel);
  for (; panel < product.panels; ++panel) multiply_panels(Index<1>{}, panel);
  return end;
}

/// Weights of one register of rows, column by column.
struct Expander {
  bool is_grid, has_offsets;
  Floats scale, offset, centre;
  Levels levels;

  DBELL_INLINE Floats weight(Ints code, bool is_salient) const {
    if (!is_grid) return look_up_four(code, levels.level + (is_salient ? 4 : 0));
    const Floats weight = multiply(scale, subtract(to_floats(code), centre));
    return has_offsets ? add(weight, offset) : weight;
  }
};

Expander make_expander(const PackedLinear& linear, std::size_t row_group, std::size_t part, std::size_t block) {
  const Floats zero = zero_floats();
  Expander expander = {linear.layout == LinearLayout::grid, linear.offsets != nullptr, zero, zero, zero, {}};
  if (expander.is_grid) {
    const std::size_t index = (row_group * linear.blocks + block) * kRowsPerGroup + part * kLanes;
    expander.scale = half_floats(linear.scales + index);
    if (linear.offsets) expander.offset = half_floats(linear.offsets + index);
    expander.centre = float_of(0.5f * static_cast<float>(linear.levels - 1));
  } else {
    expander.levels = load_levels(linear, row_group, part, block);
  }
  return expander;
}

/// Four columns' weights from their codes, one in each byte of a lane. `tile` is the first column's part.
DBELL_INLINE void store_quad(const Expander& expander, Bytes codes, unsigned salient_bits, float* tile) {
  unroll<4>([&](auto j) DBELL_INLINE_LAMBDA {
    store_floats(tile + j * kRowsPerGroup, expander.weight(byte_of_lane<j>(codes), (salient_bits >> j) & 1u));
  });
}

/// Codes of one line of up to four planes.
template <int planes>
DBELL_INLINE void expand_line(const Expander& expander, const std::uint8_t* line, const std::uint8_t* salient_mask,
                              float* tile) {
  constexpr int width = kFieldWidth<planes>;
  Bytes fields[width];
  load_fields<planes>(line, fields);
  unroll<8>([&](auto quad) DBELL_INLINE_LAMBDA {
    constexpr int index = quad % width, position = quad - index;
    const unsigned salient = salient_mask == nullptr ? 0 : unsigned{salient_mask[quad / 2]} >> (quad % 2 * 4);
    store_quad(expander, bit_and(shift_right<position>(fields[index]), byte_of((1 << width) - 1)), salient,
               tile + 4 * quad * kRowsPerGroup);
  });
}

/// Codes of one quad of more than four planes, bit by bit.
inline Bytes gather_code(const std::uint8_t* line, int planes, int bit) {
  Bytes code = zero_bytes();
  for (int plane = planes - 1; plane >= 0; --plane)
    code = bit_or(add_bytes(code, code), bit_at(load_bytes(line + static_cast<std::size_t>(plane) * kLineBytes), bit));
  return code;
}

}  // namespace

void multiply(const float* a, std::size_t lda, std::size_t tokens, std::size_t depth, const float* b, std::size_t ldb,
              std::size_t panel_stride, std::size_t panels, float* c, std::size_t ldc, bool accumulate) {
  const Product product = {a, lda, tokens, depth, b, ldb, panel_stride, panels, c, ldc, accumulate};
  std::size_t first = multiply_tiles<kFloatTileTokens, kFloatTilePanels>(product, 0);
  // Few rows take more panels at once, to hide the latency of multiply_add.
  first = multiply_tiles<kFloatSmallTileTokens, kFloatSmallTilePanels>(product, first);
  multiply_tiles<1, kFloatRowPanels>(product, first);
}

void expand(const PackedLinear& linear, std::size_t row_group, std::size_t block, const std::uint8_t* salient_mask,
            float* tile) {
  const std::size_t planes = static_cast<std::size_t>(linear.plane_count), lines = lines_of_block(linear, block);
  if (linear.layout == LinearLayout::grid) salient_mask = nullptr;
  alignas(64) std::uint8_t base3_codes[kQuadsPerBlock * kLineBytes];
  if (linear.base3 != nullptr) unpack_base3(linear, row_group, block, base3_codes);
  for (std::size_t part = 0; part < kRegisters; ++part) {
    const Expander expander = make_expander(linear, row_group, part, block);
    for (std::size_t index = 0; index < lines; ++index) {
      float* out = tile + index * kColumnsPerLine * kRowsPerGroup + part * kLanes;
      if (linear.base3 != nullptr) {
        const std::uint8_t* codes = base3_codes + 8 * index * kLineBytes + part * kRegisterBytes;
        for (std::size_t quad = 0; quad < 8; ++quad)
          store_quad(expander, load_bytes(codes + quad * kLineBytes), 0, out + 4 * quad * kRowsPerGroup);
        continue;
      }
      const std::uint8_t* line = linear.planes +
                                 (row_group * linear.lines + block * kLinesPerBlock + index) * planes * kLineBytes +
                                 part * kRegisterBytes;
      const std::uint8_t* mask = salient_mask == nullptr ? nullptr : salient_mask + index * kColumnsPerLine / 8;
      switch (planes) {
        case 1:
          expand_line<1>(expander, line, mask, out);
          break;
        case 2:
          expand_line<2>(expander, line, mask, out);
          break;
        case 3:
          expand_line<3>(expander, line, mask, out);
          break;
        case 4:
          expand_line<4>(expander, line, mask, out);
          break;
        default:
          for (int quad = 0; quad < 8; ++quad)
            store_quad(expander, gather_code(line, linear.plane_count, quad), 0,
                       out + 4 * static_cast<std::size_t>(quad) * kRowsPerGroup);
      }
    }
  }
  const std::size_t filled = lines * kColumnsPerLine;
  std::memset(tile + filled * kRowsPerGroup, 0, (kColumnsPerBlock - filled) * kRowsPerGroup * sizeof(float));
}

/// Rows between what expand_table reads and what it asks for.
constexpr std::size_t kRowsAhead = 32;

void expand_table(const Table& table, std::size_t row_group, std::size_t begin, std::size_t count, float* tile) {
  const bool is_half = table.type == TableType::f16;
  const std::size_t size = is_half ? sizeof(std::uint16_t) : sizeof(float);
  // The same columns of the rows that the next pass over the columns takes: 16 streams are more than the processor follows.
  const std::size_t ahead = kRowsAhead * table.columns * size;
  for (std::size_t first = 0; first < kRowsPerGroup; first += kTransposed) {
    const auto value_at = [&](std::size_t i, std::size_t column) -> const void* {
      const std::size_t row = row_group * kRowsPerGroup + first + i;
      if (row >= table.rows) return nullptr;
      return static_cast<const std::uint8_t*>(table.values) + (row * table.columns + begin + column) * size;
    };
    std::size_t column = 0;
    for (; column + kTransposed <= count; column += kTransposed) {
      const void* rows[kTransposed];
      for (std::size_t i = 0; i < kTransposed; ++i) rows[i] = value_at(i, column);
      if (column * size % kLineBytes == 0) {
        for (std::size_t i = 0; i < kTransposed; ++i) {
          if (rows[i] != nullptr) prefetch(static_cast<const std::uint8_t*>(rows[i]) + ahead);
        }
      }
      load_transposed(rows, is_half, tile + column * kRowsPerGroup + first, kRowsPerGroup);
    }
    for (; column < count; ++column) {
      for (std::size_t i = 0; i < kTransposed; ++i) {
        const void* at = value_at(i, column);
        float value = 0.0f;
        if (at != nullptr && is_half) {
          std::uint16_t half;
          std::memcpy(&half, at, sizeof half);
          value = half_float(half);
        } else if (at != nullptr) {
          std::memcpy(&value, at, sizeof value);
        }
        tile[column * kRowsPerGroup + first + i] = value;
      }
    }
  }
}

}  // namespace dbell::DBELL_KERNEL_SET
