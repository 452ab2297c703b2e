#pragma once
// The hot loops of the quantization numerics. numerics/loops/*.cpp is compiled once for each instruction set; loops() gives the best set the
// processor has, or the one DBELL_FORCE_ISA names. All sets give the same bytes (numerics/lanes.h says why).
#include <cstddef>
#include <cstdint>

namespace dbell::numerics {

/// How the error of what is quantized is passed on to the columns not yet quantized (docs/method.md).
enum class Compensation { none, reference, block, column };

/// What a loop met on its rows.
struct RowsReport {
  /// Stored values that had to be cut to the fp16 range.
  std::int64_t saturated = 0;
  /// First row with a weight that is not finite, or -1.
  std::int64_t non_finite_row = -1;
};

/// Columns b0 … b0 + width of some rows, row-major with a stride in elements.
struct BlockRows {
  const float* weight;
  std::size_t weight_stride;
  std::size_t rows;
  std::size_t width;
  /// Upper factor U at [b0][b0], or null.
  const float* factor;
  std::size_t factor_stride;
  Compensation compensation;
  /// E, `[rows, width]`, what the columns behind the block get as -= E·U; null where nothing is compensated.
  float* error;
};

struct UniformOutput {
  std::uint8_t* codes;
  std::size_t codes_stride;
  std::uint16_t* scales;
  std::uint16_t* offsets;
  std::size_t blocks_stride;
};

/// What the searches of the structured binarization look at: a block's values V (weights or importances), row-major.
struct SearchRows {
  const float* values;
  std::size_t stride;
  std::size_t rows;
  /// The columns that take part, as offsets from the block's first, `[count]`.
  const std::uint32_t* columns;
  std::size_t count;
  /// Weight of each of these columns in the error, `[count]`.
  const float* column_weights;
};

/// A structured block's searches are done: which columns are salient, which entries belong to the concentrated group.
struct StructuredPlan {
  /// Offsets from the block's first column, ascending.
  const std::uint32_t* ordinary;
  std::size_t ordinary_count;
  const std::uint32_t* salient;
  std::size_t salient_count;
  /// |V| up to the threshold is concentrated.
  const float* values;
  std::size_t values_stride;
  float threshold;
};

struct StructuredOutput {
  std::uint8_t* codes;
  std::size_t codes_stride;
  /// 7 levels of this block in the first row.
  std::uint16_t* levels;
  std::size_t levels_stride;
};

/// Rows of one block as LTDB's training reads them, packed: `[groups][columns][lanes]`, Loops::lanes rows a group, the last group filled up with rows of zeros.
struct LtdbRows {
  const float* packed;
  std::size_t rows;
  std::size_t columns;
};

/// Sums over rows and columns; the losses are their means times a factor.
struct LtdbSums {
  double proportional = 0;  // of L_DTNP
  double deviation = 0;     // of L_DTMD
};

enum class LtdbLoss { l2, l1 };

/// Columns b0 … b0 + width of some rows of a layer under fit: Ŵ_ij = r_i · c_j · (q_ij − (levels − 1)/2). Row-major with strides in elements.
struct GridRows {
  std::size_t rows;
  std::size_t width;
  int levels;
  std::uint8_t* codes;
  std::size_t codes_stride;
  /// r of this block in the first row; the next row's stands `scales_stride` behind.
  float* scales;
  std::size_t scales_stride;
};

/// Where round_grid looks for a row's scale: each stage tries its factors times the best scale so far, with which the pass over the block makes the least error.
struct ScaleSearch {
  static constexpr std::size_t stages = 3;
  const float* factors[stages];
  std::size_t factors_per_stage[stages];
};

/// What coordinate descent over a block's codes works on.
struct GridDescent {
  /// G, half the loss's slope in Ŵ, downhill; the block's columns are kept up to date.
  float* gradient;
  std::size_t gradient_stride;
  /// c, `[width]`.
  const float* column_scale;
  /// H at [b0][b0].
  const float* hessian;
  std::size_t hessian_stride;
  /// Where the change of Ŵ goes, `[rows, width]`.
  float* change;
};

/// Some rows of a table under quantization, `[rows, columns]`: groups of 32 columns share a scale.
struct TableRows {
  const float* weight;
  std::size_t rows;
  std::size_t columns;
  /// 4 or 6.
  int bits;
  /// M, `[columns, columns]`, the error's metric; null: plain rounding.
  const float* metric;
  /// U with M⁻¹ = UᵀU for the start from left to right; null: the start is rounding.
  const float* factor;
  int sweeps;
};

struct TableOutput {
  /// code + 2^(bits − 1), `[rows, columns]`.
  std::uint8_t* fields;
  /// fp16, `[rows, groups]`.
  std::uint16_t* scales;
};

/// Sums over the rows.
struct TableErrors {
  double metric_error = 0;   // tr(E M Eᵀ), E = W − Ŵ; 0 without a metric
  double metric_norm = 0;    // tr(W M Wᵀ)
  double squared_error = 0;  // ‖E‖²
  double squared_norm = 0;   // ‖W‖²
};

struct Loops {
  const char* name;
  /// Rows that are treated at once.
  std::size_t lanes;

  /// C[m, n] −= A[m, k] · B[k, n], row-major. Every element of the product is summed in the order of k, then subtracted.
  void (*subtract_product_float)(float* c, std::size_t c_stride, const float* a, std::size_t a_stride, const float* b,
                                 std::size_t b_stride, std::size_t m, std::size_t n, std::size_t k);
  void (*subtract_product_double)(double* c, std::size_t c_stride, const double* a, std::size_t a_stride,
                                  const double* b, std::size_t b_stride, std::size_t m, std::size_t n, std::size_t k);

  /// One block of a uniform grid with `levels` levels (2: mean and scale).
  RowsReport (*quantize_uniform)(const BlockRows& block, int levels, const UniformOutput& output);

  /// errors[k − 1] = squared error, summed over the rows, if the first k of the columns are binarized twice (second order) and the rest once, k = 1 … maximum.
  void (*salient_errors)(const SearchRows& search, std::size_t maximum, double* errors);
  /// errors[p] = squared error, summed over the rows, if |V| ≤ thresholds[p] and the rest are binarized apart.
  void (*split_errors)(const SearchRows& search, const float* thresholds, std::size_t count, double* errors);
  /// One block of structured binarization by a finished plan.
  RowsReport (*quantize_structured)(const BlockRows& block, const StructuredPlan& plan, const StructuredOutput& output);

  /// LTDB's losses of some rows under `scale` T `[columns]`; adds the gradient of `proportional` to `gradient` `[columns]`.
  LtdbSums (*ltdb_losses)(const LtdbRows& rows, const float* scale, LtdbLoss loss, double* gradient);

  /// GPTQ's pass over one block with c = 1: codes, and E for the columns behind where `block.error` is not null. Each row's r is first replaced by the one that a
  /// search around it finds.
  void (*round_grid)(const BlockRows& block, const GridRows& grid, const ScaleSearch& search);
  /// One sweep of coordinate descent over a block's codes, column by column; returns how many codes changed.
  std::int64_t (*descend_grid)(const GridRows& grid, const GridDescent& descent);

  /// Rows of a table of 4 or 6 bits.
  RowsReport (*quantize_table)(const TableRows& table, const TableOutput& output, TableErrors& errors);
};

const Loops& loops();

}  // namespace dbell::numerics
