// C −= A·B for row-major matrices: a strip of B is packed, tiles of C stay in registers.
#include "numerics/lanes.h"
#include "numerics/loops/loops_set.h"

DBELL_DECLARE_LOOPS(DBELL_NUMERICS_SET)

namespace dbell::numerics {
namespace {

// Rows and vectors of the tile of C that is held in registers: two vectors and eight rows where there are 32 registers.
constexpr int tile_vectors = 2;
#if defined(__AVX512F__)
constexpr int tile_rows = 8;
#else
constexpr int tile_rows = 4;
#endif
// Depth of a packed strip: strip and rows of A stay in the first-level cache. Part of the result (sums are subtracted strip by strip), so the same everywhere.
constexpr std::size_t depth = 128;

template <class Scalar, int Rows>
DBELL_INLINE void multiply_tile(Scalar* c, std::size_t c_stride, const Scalar* a, std::size_t a_stride,
                                const Scalar* strip, std::size_t k, std::size_t columns) {
  using Vector = typename VectorOf<Scalar>::type;
  constexpr int elements = sizeof(Vector) / sizeof(Scalar);
  Vector sums[Rows][tile_vectors];
  for (int i = 0; i < Rows; ++i)
    for (int v = 0; v < tile_vectors; ++v) sums[i][v] = broadcast(Scalar(0));
  for (std::size_t p = 0; p < k; ++p) {
    Vector b[tile_vectors];
    for (int v = 0; v < tile_vectors; ++v) b[v] = load(strip + (p * tile_vectors + v) * elements);
    for (int i = 0; i < Rows; ++i) {
      const Vector value = broadcast(a[i * a_stride + p]);
      for (int v = 0; v < tile_vectors; ++v) sums[i][v] += value * b[v];
    }
  }
  if (columns == std::size_t(tile_vectors) * elements) {
    for (int i = 0; i < Rows; ++i)
      for (int v = 0; v < tile_vectors; ++v) {
        Scalar* at = c + i * c_stride + v * elements;
        store(at, load(at) - sums[i][v]);
      }
  } else {
    for (int i = 0; i < Rows; ++i) {
      Scalar row[tile_vectors * elements];
      for (int v = 0; v < tile_vectors; ++v) store(row + v * elements, sums[i][v]);
      for (std::size_t j = 0; j < columns; ++j) c[i * c_stride + j] -= row[j];
    }
  }
}

template <class Scalar>
void subtract_product(Scalar* c, std::size_t c_stride, const Scalar* a, std::size_t a_stride, const Scalar* b,
                      std::size_t b_stride, std::size_t m, std::size_t n, std::size_t k) {
  using Vector = typename VectorOf<Scalar>::type;
  constexpr std::size_t width = tile_vectors * sizeof(Vector) / sizeof(Scalar);
  alignas(64) Scalar strip[depth * width];
  for (std::size_t k0 = 0; k0 < k; k0 += depth) {
    const std::size_t steps = k - k0 < depth ? k - k0 : depth;
    for (std::size_t j = 0; j < n; j += width) {
      const std::size_t columns = n - j < width ? n - j : width;
      for (std::size_t p = 0; p < steps; ++p) {
        const Scalar* from = b + (k0 + p) * b_stride + j;
        Scalar* to = strip + p * width;
        if (columns == width) {
          for (std::size_t q = 0; q < width; ++q) to[q] = from[q];
        } else {
          for (std::size_t q = 0; q < width; ++q) to[q] = q < columns ? from[q] : Scalar(0);
        }
      }
      std::size_t i = 0;
      for (; i + tile_rows <= m; i += tile_rows)
        multiply_tile<Scalar, tile_rows>(c + i * c_stride + j, c_stride, a + i * a_stride + k0, a_stride, strip, steps,
                                         columns);
      for (; i < m; ++i)
        multiply_tile<Scalar, 1>(c + i * c_stride + j, c_stride, a + i * a_stride + k0, a_stride, strip, steps,
                                 columns);
    }
  }
}

}  // namespace

namespace DBELL_NUMERICS_SET {

void subtract_product_float(float* c, std::size_t c_stride, const float* a, std::size_t a_stride, const float* b,
                            std::size_t b_stride, std::size_t m, std::size_t n, std::size_t k) {
  subtract_product(c, c_stride, a, a_stride, b, b_stride, m, n, k);
}

void subtract_product_double(double* c, std::size_t c_stride, const double* a, std::size_t a_stride, const double* b,
                             std::size_t b_stride, std::size_t m, std::size_t n, std::size_t k) {
  subtract_product(c, c_stride, a, a_stride, b, b_stride, m, n, k);
}

}  // namespace DBELL_NUMERICS_SET
}  // namespace dbell::numerics
