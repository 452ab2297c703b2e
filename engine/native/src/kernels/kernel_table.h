#pragma once
// The functions that every instruction set implements. `generic` is the plain reference; the others must give the same
// integers exactly, and the same floats: the order of the float32 operations is part of the definition, and multiplication
// and addition are rounded separately (no FMA) except in `multiply`. The shaders (engine/runtime/webgpu/kernels) keep to it too.
#include "kernels/packed_linear.h"
#include "kernels/softmax.h"

namespace dbell {

struct KernelTable {
  const char* name;

  /// Integer path of the grid layout for row groups [begin, end):
  ///   I_b = 2·Σ_p 2^p·M_p − (levels − 1)·X_b                                    (exact, fits 24 bits)
  ///   acc ← acc + (float(r)·float(I_b))·s_tb, then with offsets acc ← acc + (float(m)·float(2·X_b))·s_tb
  ///   blocks ascending, acc starts at 0
  ///   y = bias + (0.5·s_t)·acc; without a bias y ← y + (0.5·s_t)·acc
  /// One of s_t and s_tb is 1: steps are by token or by block.
  /// y is [tokens, y_stride], row r at column r; 16 columns are written for each row group. Where `integers` is not
  /// null it also receives I_b, [tokens, row_groups · 16, blocks].
  void (*grid)(const PackedLinear& linear, const QuantizedActivations& activations, std::size_t begin, std::size_t end,
               float* y, std::size_t y_stride, std::int32_t* integers);

  /// Integer path of the structured layout. With A, B the sums over set bits of plane 0, plane 1, AB of both, X of all
  /// columns, once for the ordinary columns (o) and once for the salient ones (s), and S00 = X−A−B+AB, S10 = A−AB, S01
  /// = B−AB, S11 = AB:
  ///   acc ← acc + L00·S00, + L10·S10, + L01·S01, + L11·S11 of the ordinary columns, then the same four of the salient
  ///   ones; blocks ascending L00 = mean_c − scale_c, L10 = mean_c + scale_c, L01 = mean_s − scale_s, L11 = mean_s +
  ///   scale_s; salient: (mean ∓ scale1) ∓ scale2 y = bias + s_t·acc
  /// `integers`: [tokens, row_groups · 16, blocks, 6] = A, B, AB ordinary, A, B, AB salient.
  void (*structured)(const PackedLinear& linear, const QuantizedActivations& activations, std::size_t begin,
                     std::size_t end, float* y, std::size_t y_stride, std::int32_t* integers);

  /// Tables of sums of one token's activations, which `grid` (of one or two planes) and `structured` look up in place of
  /// products where they are given them; the results are the same. values: x̂ [blocks, 128]; tables: [blocks, 4 lines,
  /// kLineSumTableBytes], 64-byte aligned; least_sums: [blocks], what a block's entries are less than the sums, together.
  /// Null where the set multiplies as fast.
  void (*make_sum_tables)(const std::int8_t* values, std::size_t blocks, std::uint8_t* tables,
                          std::int32_t* least_sums);

  /// Float weights of one row group and block, [128, 16] (column-major: 16 rows adjacent), zero beyond in_features'
  /// last line; exactly r·(q − o) + m, or the structured level, in float32. `salient_mask` is the block's 16 bytes
  /// (structured).
  void (*expand)(const PackedLinear& linear, std::size_t row_group, std::size_t block, const std::uint8_t* salient_mask,
                 float* tile);

  /// Rows [16·row_group, +16) and columns [begin, begin + count) of a float table, count ≤ 128, as [count, 16]; rows
  /// beyond the last are zero.
  void (*expand_table)(const Table& table, std::size_t row_group, std::size_t begin, std::size_t count, float* tile);

  /// C[t, 16·p + i] (+)= Σ_k A[t, k] · B[p][k, i] for `panels` panels of 16 columns: A is [tokens, lda], panel p of B
  /// starts at b + p·panel_stride and is [depth, ldb], C is [tokens, ldc]. The sum runs over k ascending for each
  /// element by itself, so a result depends neither on the number of tokens nor on how panels are cut, and each product
  /// is added with one rounding (fused). With `accumulate` it starts from what C holds, else from zero.
  void (*multiply)(const float* a, std::size_t lda, std::size_t tokens, std::size_t depth, const float* b,
                   std::size_t ldb, std::size_t panel_stride, std::size_t panels, float* c, std::size_t ldc,
                   bool accumulate);

  /// Rows [16·begin, 16·end) of an 8-bit table times int8 activations: acc ← acc + float(scale_g)·float(Σ_j code·x̂),
  /// groups ascending, y = s_t·acc; y is [tokens, y_stride] with row 16·begin at column 0. `integers` as above:
  /// [tokens, (end − begin) · 16, groups].
  void (*table_q8)(const Table& table, const TableActivations& activations, std::size_t begin, std::size_t end,
                   float* y, std::size_t y_stride, std::int32_t* integers);

  /// The same for tables of 6 and 4 bits; a stored field u of b bits is the code u − 2^(b−1) (docs/format.md, section 4).
  void (*table_packed)(const Table& table, const TableActivations& activations, std::size_t begin, std::size_t end,
                       float* y, std::size_t y_stride, std::int32_t* integers);

  /// x̂_j = roundTiesToEven(c_j·x_j / s), clamped to ±limit, s = max|c_j·x_j| / limit, s = 1 where that is zero; returns
  /// s, or a negative number where an input is NaN or infinite. `column_scale` may be null. Product and quotient are
  /// rounded to float32.
  float (*quantize)(const float* x, const float* column_scale, std::size_t count, int limit, std::int8_t* quantized);

  /// x_j ← exp(x_j − maximum), within 2 ulp of the exact value where the argument lies between kLowestExponent and
  /// kHighestExponent (exponential.h), 0 below. With v the argument, clamped to them: n = roundTiesToEven(v / ln 2), r =
  /// (v − n·high) − n·low, the polynomial of r by Horner's scheme, times 2^n; every operation is rounded by itself.
  void (*exponentials)(float* x, std::size_t count, float maximum);

  /// Online softmax (arXiv 1805.02867) over a segment of `rows` queries: scores [rows, 128] become shares, exp(score −
  /// m') of the positions seen with m' the largest so far, by `exponentials`, and zero elsewhere. factors[row] = exp(m −
  /// m') is what the mixture of values so far is to be multiplied with, 1 where the row sees nothing; total ←
  /// total·factor + Σ shares, halves added to halves (j and j + 64, then + 32 …). Scores are numbers.
  void (*softmax)(float* scores, std::size_t rows, const SeenPositions* seen, SoftmaxState* states, float* factors);

  /// `count` float16 values, a multiple of 16, as float32; exact, subnormal numbers and infinities included.
  void (*expand_halves)(const std::uint16_t* halves, std::size_t count, float* out);

  /// [rows, 16] codes times the step of their column: out[j, i] = steps[i]·float(codes[j, i]), rounded to float32.
  void (*expand_codes)(const std::int8_t* codes, const float* steps, std::size_t rows, float* out);
};

const KernelTable& generic_kernels();
// Defined where the set is compiled in (DBELL_HAVE_<set>); whether this machine can run it: cpu/kernel_choice.h.
const KernelTable& sse41_kernels();
const KernelTable& avx2_kernels();
const KernelTable& avxvnni_kernels();
const KernelTable& avx512_kernels();
const KernelTable& avx512vnni_kernels();
const KernelTable& neon_kernels();
const KernelTable& neon_dot_kernels();

}  // namespace dbell
