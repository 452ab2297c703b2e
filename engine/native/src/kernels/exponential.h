#pragma once
// Numbers of the exponential function that every instruction set, and the shaders, compute in the same order
// (kernel_table.h, exponentials). Constants only: kernel sources may share no functions.
namespace dbell {

constexpr float kInverseLn2 = 1.44269504f;
/// ln 2 in two parts; n times the first is exact.
constexpr float kLn2High = 0.693359375f, kLn2Low = -2.12194440e-4f;
/// Below the first the result is 0; above the second it is that of the second, so that 1 / (1 + e) is a normal number.
constexpr float kLowestExponent = -87.3f, kHighestExponent = 87.0f;
/// e^r for |r| ≤ ln 2 / 2 with coefficients 1, 1 and then these, highest power first: least largest relative error, 3.1e-9.
constexpr float kExponentialCoefficients[5] = {0.0013814540579915047f, 0.00836874544620514f, 0.04166838899254799f,
                                               0.1666652113199234f, 0.4999999403953552f};

}  // namespace dbell
