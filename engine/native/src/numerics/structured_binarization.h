#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "numerics/loops.h"

namespace dbell::numerics {

/// S_ij: `hessian` W_ij² / U_jj², `magnitude` |W_ij|.
enum class Importance { hessian, magnitude };
/// What the searches minimise the squared error of: S itself, W, or W with every column weighted by 1 / U_jj².
enum class SearchOn { importance, weight, weighted_weight };

struct StructuredOptions {
  Importance importance = Importance::hessian;
  SearchOn search_on = SearchOn::weight;
  std::size_t maximum_salient_columns = 49;
  /// Candidates for the split, in percent, `first` … `last` in equal steps.
  double first_percentile = 10, last_percentile = 90;
  std::size_t percentile_count = 81;
  /// Percentiles count salient columns as zeros (the reference code of BiLLM and DBellQuant), or leave them out.
  bool percentiles_over_zeros = false;
  Compensation compensation = Compensation::block;
  std::size_t block_size = 128;
};

struct StructuredBinarization {
  std::vector<std::uint8_t> codes;            // [out, in], 0 … 3
  std::vector<std::uint16_t> levels;          // fp16 bits, [out, blocks, 7]
  std::vector<std::uint8_t> salient_columns;  // [in]
  /// Levels that had to be cut to ±65504.
  std::int64_t saturated = 0;
};

/// BiLLM's scheme, block by block from left to right with error compensation (docs/method.md, section 2). `factor` is U `[in, in]` or null (then plain rounding, and
/// U_jj = 1 in importances). Throws std::invalid_argument naming the row where a weight is, or becomes, not finite.
StructuredBinarization quantize_structured(const float* weight, std::size_t out_features, std::size_t in_features,
                                           const float* factor, const StructuredOptions& options);

}  // namespace dbell::numerics
