#pragma once
// What the kernels read and write. Plain structures only: kernel sources are compiled for one instruction set each, so
// nothing that the linker could merge across them (inline functions, templates of the standard library) may be used
// there.
#include <cstddef>
#include <cstdint>

namespace dbell {

/// Rows whose bits stand side by side in one line of a plane.
constexpr std::size_t kRowsPerGroup = 16;
/// Columns of one 64-byte line (16 rows × 32 columns, byte 4·row + j, bit b ↔ column 4b + j).
constexpr std::size_t kColumnsPerLine = 32;
constexpr std::size_t kLineBytes = 64;
/// Columns that share one scale.
constexpr std::size_t kColumnsPerBlock = 128;
constexpr std::size_t kLinesPerBlock = kColumnsPerBlock / kColumnsPerLine;
/// Four adjacent columns are multiplied at once ("quad"); quad q of a block is bit q % 8 of its line q / 8.
constexpr std::size_t kQuadsPerBlock = kColumnsPerBlock / 4;
/// Base-3 storage of three levels (docs/format.md): a strip is 16 rows × 20 columns in 64 bytes, five codes a byte: byte
/// 4·row + j, digit d ↔ column 4d + j of the strip. A block's last strip has only as many bytes a row, t, as its columns
/// need: byte t·row + j, digit d ↔ column t·d + j.
constexpr std::size_t kDigitsPerByte = 5;
constexpr std::size_t kColumnsPerStrip = 20;
constexpr std::size_t kStripRowBytes = 4;
/// A whole block: six strips of four bytes a row and one of two.
constexpr std::size_t kBase3BlockRowBytes = 26;
constexpr std::size_t kBase3BlockBytes = kBase3BlockRowBytes * kRowsPerGroup;
/// fp16 values for each row and block of the structured layout.
constexpr std::size_t kStructuredValues = 7;
/// Columns that share one scale in a table of 8, 6 or 4 bits.
constexpr std::size_t kColumnsPerTableGroup = 32;
/// Lines of 64 bytes that 16 rows × 32 columns take in a table of 4 or 6 bits.
constexpr std::size_t kLinesPerTableGroup4 = 4;
constexpr std::size_t kLinesPerTableGroup6 = 6;
/// A table of sums: of four columns' activations over every subset of them, 0 … 15, two bytes each. A line has eight.
constexpr std::size_t kSumTableEntries = 16;
constexpr std::size_t kSumTableBytes = 2 * kSumTableEntries;
constexpr std::size_t kSumTablesPerLine = kColumnsPerLine / 4;
constexpr std::size_t kLineSumTableBytes = kSumTablesPerLine * kSumTableBytes;
/// Tokens that kernels work on between two passes over the weights; bounds their buffers on the stack.
constexpr std::size_t kTokensPerPass = 128;
/// Integers that the integer part has for each row and block: 1 (grid) or 6 (structured).
constexpr std::size_t kGridIntegers = 1;
constexpr std::size_t kStructuredIntegers = 6;

enum class LinearLayout { grid, structured };

/// A packed linear as it stands in the mapped file, W `[out_features, in_features]` (format: docs/format.md).
struct PackedLinear {
  LinearLayout layout;
  std::size_t out_features, in_features;
  std::size_t row_groups;                  ///< ceil(out_features / 16)
  std::size_t lines;                       ///< ceil(in_features / 32)
  std::size_t blocks;                      ///< ceil(in_features / 128)
  int plane_count;                         ///< 1 … 8; structured: 2
  int levels;                              ///< grid: 2 … 256
  const std::uint8_t* planes;              ///< [row_groups, lines, plane_count, 64], or null where base3 is not
  const std::uint8_t* base3;               ///< three levels only: [row_groups, base3_group_bytes], or null
  std::size_t base3_group_bytes;           ///< 16 · Σ_blocks ceil(columns of the block / 5)
  const std::uint16_t* scales;             ///< grid: fp16 [row_groups, blocks, 16]
  const std::uint16_t* offsets;            ///< grid: fp16 [row_groups, blocks, 16], or null
  const std::uint16_t* structured_values;  ///< structured: fp16 [row_groups, blocks, 7, 16]
  const float* bias;                       ///< [row_groups · 16], zero beyond out_features. Null (grid only): what y
                                           ///< holds already stands in its place
};

/// Activations x̂ of one linear's input, really rounded. Values beyond in_features are zero.
struct QuantizedActivations {
  std::size_t tokens;
  const std::int8_t* values;           ///< x̂ [blocks, tokens, 128]
  const std::int32_t* block_sums;      ///< Σ x̂ [blocks, tokens]
  const float* scales;                 ///< s_t [tokens]; 1 where steps are by block
  const float* block_scales;           ///< grid: s_tb [blocks, tokens]; 1 where steps are by token
  const std::int8_t* salient_values;   ///< structured: x̂ of salient columns, else zero, [blocks, tokens, 128]
  const std::int32_t* salient_sums;    ///< structured: [blocks, tokens]
  const std::uint32_t* salient_quads;  ///< structured: [blocks], bit q: quad q has a salient column
  const std::uint8_t* sum_tables;      ///< one token, what KernelTable::make_sum_tables gave, 64-byte aligned; else null
  const std::int32_t* least_sums;      ///< of the same [blocks], or null
};

/// A table `[rows, columns]` (embedding, head, projection) as it stands in the mapped file.
enum class TableType { f32, f16, q8, q6, q4 };
struct Table {
  TableType type;
  std::size_t rows, columns;
  std::size_t groups;           ///< q8, q6, q4: ceil(columns / 32)
  const void* values;           ///< float [rows, columns], fp16 [rows, columns], int8 [rows, groups · 32],
                                ///< q6 and q4: lines [ceil(rows / 16), groups, 6 or 4, 64]
  const std::uint16_t* scales;  ///< q8: fp16 [rows, groups]; q6, q4: fp16 [ceil(rows / 16), groups, 16]
};

/// Activations of a quantized table: x̂ of groups of 32 columns.
struct TableActivations {
  std::size_t tokens;
  const std::int8_t* values;       ///< [tokens, groups · 32], zero beyond the true columns
  const float* scales;             ///< [tokens]
  const std::int32_t* group_sums;  ///< q6, q4: Σ x̂ of each group [tokens, groups]
};

}  // namespace dbell
