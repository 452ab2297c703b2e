#pragma once
// What one instruction set's compilation of numerics/loops offers. DBELL_NUMERICS_SET names it: generic, avx2 or avx512.
#include "numerics/loops.h"

#define DBELL_DECLARE_LOOPS(set)                                                                                      \
  namespace dbell::numerics::set {                                                                                    \
  void subtract_product_float(float* c, std::size_t c_stride, const float* a, std::size_t a_stride, const float* b,   \
                              std::size_t b_stride, std::size_t m, std::size_t n, std::size_t k);                     \
  void subtract_product_double(double* c, std::size_t c_stride, const double* a, std::size_t a_stride,                \
                               const double* b, std::size_t b_stride, std::size_t m, std::size_t n, std::size_t k);   \
  RowsReport quantize_uniform(const BlockRows& block, int levels, const UniformOutput& output);                       \
  void salient_errors(const SearchRows& search, std::size_t maximum, double* errors);                                 \
  void split_errors(const SearchRows& search, const float* thresholds, std::size_t count, double* errors);            \
  RowsReport quantize_structured(const BlockRows& block, const StructuredPlan& plan, const StructuredOutput& output); \
  LtdbSums ltdb_losses(const LtdbRows& rows, const float* scale, LtdbLoss loss, double* gradient);                    \
  void round_grid(const BlockRows& block, const GridRows& grid, const ScaleSearch& search);                           \
  std::int64_t descend_grid(const GridRows& grid, const GridDescent& descent);                                        \
  RowsReport quantize_table(const TableRows& table, const TableOutput& output, TableErrors& errors);                  \
  extern const std::size_t lane_count;                                                                                \
  }
