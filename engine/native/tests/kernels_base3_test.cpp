// Three levels in base 3 against the same codes in planes, and kernels that add to what stands already.
#include "kernel_checks.h"

using namespace dbell_test;

namespace {

/// Base-3 codes give the integers, the floats and the weights of the same codes in planes, for every width of a last strip.
void check_base3() {
  Random random;
  const Fill fills[] = {Fill::random, Fill::highest, Fill::lowest, Fill::alternating, Fill::zero};
  for (std::size_t in = 1; in <= 130; ++in) {
    const std::size_t out = 1 + random.below(40);
    check_linear(random, LinearLayout::grid, out, in, 3, random.below(2) == 0, 1, fills[random.below(5)], true);
    check_linear(random, LinearLayout::grid, out, in, 3, random.below(2) == 0, 2 + random.below(18),
                 fills[random.below(5)], true);
  }
  for (const std::size_t in : {255u, 256u, 289u, 576u}) {
    for (const std::size_t tokens : {std::size_t{1}, std::size_t{7}, dbell::kTokensPerPass + 5}) {
      TestLinear linear = make_linear(random, LinearLayout::grid, 35, in, 3, false);
      const TestActivations activations = make_activations(random, linear, tokens, Fill::random);
      const Result planes = run(dbell::generic_kernels(), linear, activations);
      store_base3(linear);
      for (const KernelTable* kernels : dbell::available_kernels()) {
        const Result base3 = run(*kernels, linear, activations);
        CHECK(std::memcmp(base3.integers.values, planes.integers.values, planes.integers.count * 4) == 0,
              "%s: integers of base 3 are not those of planes", kernels->name);
        CHECK(std::memcmp(base3.y.values, planes.y.values, planes.y.count * 4) == 0,
              "%s: floats of base 3 are not those of planes", kernels->name);
      }
    }
  }
  // Bytes that no writer makes give wrong numbers, but read and write nothing that isn't theirs (sanitizers watch).
  for (const std::size_t in : {1u, 7u, 13u, 128u, 150u}) {
    TestLinear linear = make_linear(random, LinearLayout::grid, 17, in, 3, false);
    store_base3(linear);
    for (std::size_t i = 0; i < linear.base3.count; ++i) linear.base3[i] = 255;
    for (const std::size_t tokens : {1u, 5u}) {
      const TestActivations activations = make_activations(random, linear, tokens, Fill::random);
      for (const KernelTable* kernels : dbell::available_kernels()) run(*kernels, linear, activations);
    }
  }
}

/// Without a bias, what y holds stands in its place: y + (0.5·s)·acc, one multiplication and one addition.
void check_adding() {
  Random random;
  for (const std::size_t tokens : {std::size_t{1}, std::size_t{6}, dbell::kTokensPerPass + 2}) {
    for (const int levels : {2, 3, 16}) {
      TestLinear linear = make_linear(random, LinearLayout::grid, 37, 150, levels, false);
      if (levels == 3) store_base3(linear);
      const TestActivations activations = make_activations(random, linear, tokens, Fill::random);
      const std::size_t stride = linear.packed.row_groups * 16;
      Exact<float> start(tokens * stride);
      for (std::size_t i = 0; i < start.count; ++i) start[i] = random.uniform();
      // Zero biases leave (0.5·s)·acc alone.
      for (std::size_t i = 0; i < linear.bias.count; ++i) linear.bias[i] = 0.0f;
      const Result product = run(dbell::generic_kernels(), linear, activations);
      linear.packed.bias = nullptr;
      for (const KernelTable* kernels : dbell::available_kernels()) {
        Exact<float> y(start.count);
        std::memcpy(y.values, start.values, y.count * sizeof(float));
        kernels->grid(linear.packed, activations.view, 0, linear.packed.row_groups, y.values, stride, nullptr);
        for (std::size_t i = 0; i < y.count; ++i) {
          CHECK(y[i] == start[i] + product.y[i], "%s: %g is not %g + %g", kernels->name, static_cast<double>(y[i]),
                static_cast<double>(start[i]), static_cast<double>(product.y[i]));
        }
      }
    }
  }
}

}  // namespace

int main() {
  check_base3();
  check_adding();
  std::puts("base-3 kernels: ok");
  return 0;
}
