#include "cpu/int8_peak.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>

#include "common/thread_pool.h"

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define DBELL_X86_PEAKS 1
#include <immintrin.h>
#elif defined(__aarch64__) && (defined(__GNUC__) || defined(__clang__))
#define DBELL_ARM_PEAKS 1
#include <arm_neon.h>
#endif

namespace dbell {
namespace {

/// Independent sums: an instruction waits five cycles for its result, and two begin in each.
constexpr int kSums = 12;
/// Long beside a thread's waking, short beside a time slice: about a millisecond.
constexpr int kRounds = 400'000;

/// Products of codes up to 15 with int8 that pmaddubsw may add up as int16 before they must be widened.
[[maybe_unused]] constexpr int kStepsPerWidening = 8;
static_assert(kRounds % kStepsPerWidening == 0, "all rounds are counted");

/// Sums that went round `kRounds` times, folded into a number that must be used, or nothing would be computed.
using Loop = std::int64_t (*)();

struct Instruction {
  const char* name;
  Loop loop;
  double operations;  ///< of the whole loop
};

/// Sum of all 32-bit lanes of vectors in memory.
[[maybe_unused]] std::int64_t lanes_of(const void* vectors, std::size_t bytes) {
  std::int64_t total = 0;
  for (std::size_t at = 0; at < bytes; at += sizeof(std::int32_t)) {
    std::int32_t lane;
    std::memcpy(&lane, static_cast<const char*>(vectors) + at, sizeof lane);
    total += lane;
  }
  return total;
}

/// Plain C++, as the compiler makes of it for every machine.
std::int64_t plain_loop() {
  constexpr int kWidth = 64;
  std::int8_t a[kWidth], b[kWidth];
  std::int32_t sums[kWidth] = {};
  for (int i = 0; i < kWidth; ++i) {
    a[i] = static_cast<std::int8_t>(i - 32);
    b[i] = static_cast<std::int8_t>(3 * i % 127);
  }
  for (int round = 0; round < kRounds / 16; ++round) {
    for (int i = 0; i < kWidth; ++i) sums[i] += a[i] * b[i];
    a[round % kWidth] = static_cast<std::int8_t>(round);  // no round is the one before
  }
  std::int64_t total = 0;
  for (const std::int32_t sum : sums) total += sum;
  return total;
}

#ifdef DBELL_X86_PEAKS
// The compiler must not see that the operands stay the same: they come through an empty statement.
#define DBELL_OPAQUE(value) __asm__ volatile("" : "+v"(value))
#define DBELL_OPAQUE_X(value) __asm__ volatile("" : "+x"(value))

__attribute__((target("avx512f,avx512bw,avx512vnni"))) std::int64_t dpbusd_512() {
  __m512i sums[kSums], a = _mm512_set1_epi8(3), b = _mm512_set1_epi8(-5);
  for (auto& sum : sums) sum = _mm512_setzero_si512();
  for (int round = 0; round < kRounds; ++round) {
    DBELL_OPAQUE(a);
    for (auto& sum : sums) sum = _mm512_dpbusd_epi32(sum, a, b);
  }
  return lanes_of(sums, sizeof sums);
}

__attribute__((target("avx512f,avx512bw"))) std::int64_t maddubs_512() {
  __m512i sums[kSums], a = _mm512_set1_epi8(3), b = _mm512_set1_epi8(-5);
  const __m512i ones = _mm512_set1_epi16(1);
  for (auto& sum : sums) sum = _mm512_setzero_si512();
  for (int round = 0; round < kRounds; round += kStepsPerWidening) {
    __m512i words[kSums];
    for (auto& word : words) word = _mm512_setzero_si512();
    for (int step = 0; step < kStepsPerWidening; ++step) {
      for (auto& word : words) {
        DBELL_OPAQUE(a);
        word = _mm512_add_epi16(word, _mm512_maddubs_epi16(a, b));
        DBELL_OPAQUE(word);
      }
    }
    for (int i = 0; i < kSums; ++i) sums[i] = _mm512_add_epi32(sums[i], _mm512_madd_epi16(words[i], ones));
  }
  return lanes_of(sums, sizeof sums);
}

#if defined(__clang__) || __GNUC__ >= 11
#define DBELL_HAVE_AVXVNNI_PEAK 1
__attribute__((target("avx2,avxvnni"))) std::int64_t dpbusd_256() {
  __m256i sums[kSums], a = _mm256_set1_epi8(3), b = _mm256_set1_epi8(-5);
  for (auto& sum : sums) sum = _mm256_setzero_si256();
  for (int round = 0; round < kRounds; ++round) {
    DBELL_OPAQUE_X(a);
    for (auto& sum : sums) sum = _mm256_dpbusd_avx_epi32(sum, a, b);
  }
  return lanes_of(sums, sizeof sums);
}
#endif

__attribute__((target("avx2"))) std::int64_t maddubs_256() {
  __m256i sums[kSums], a = _mm256_set1_epi8(3), b = _mm256_set1_epi8(-5);
  const __m256i ones = _mm256_set1_epi16(1);
  for (auto& sum : sums) sum = _mm256_setzero_si256();
  for (int round = 0; round < kRounds; round += kStepsPerWidening) {
    __m256i words[kSums];
    for (auto& word : words) word = _mm256_setzero_si256();
    for (int step = 0; step < kStepsPerWidening; ++step) {
      for (auto& word : words) {
        DBELL_OPAQUE_X(a);
        word = _mm256_add_epi16(word, _mm256_maddubs_epi16(a, b));
        DBELL_OPAQUE_X(word);
      }
    }
    for (int i = 0; i < kSums; ++i) sums[i] = _mm256_add_epi32(sums[i], _mm256_madd_epi16(words[i], ones));
  }
  return lanes_of(sums, sizeof sums);
}

__attribute__((target("sse4.1"))) std::int64_t maddubs_128() {
  __m128i sums[kSums], a = _mm_set1_epi8(3), b = _mm_set1_epi8(-5);
  const __m128i ones = _mm_set1_epi16(1);
  for (auto& sum : sums) sum = _mm_setzero_si128();
  for (int round = 0; round < kRounds; round += kStepsPerWidening) {
    __m128i words[kSums];
    for (auto& word : words) word = _mm_setzero_si128();
    for (int step = 0; step < kStepsPerWidening; ++step) {
      for (auto& word : words) {
        DBELL_OPAQUE_X(a);
        word = _mm_add_epi16(word, _mm_maddubs_epi16(a, b));
        DBELL_OPAQUE_X(word);
      }
    }
    for (int i = 0; i < kSums; ++i) sums[i] = _mm_add_epi32(sums[i], _mm_madd_epi16(words[i], ones));
  }
  return lanes_of(sums, sizeof sums);
}
#endif

#ifdef DBELL_ARM_PEAKS
std::int64_t mlal() {
  int32x4_t sums[kSums];
  int8x16_t a = vdupq_n_s8(3);
  const int8x16_t b = vdupq_n_s8(-5);
  for (auto& sum : sums) sum = vdupq_n_s32(0);
  for (int round = 0; round < kRounds; ++round) {
    __asm__ volatile("" : "+w"(a));
    for (auto& sum : sums) {
      int16x8_t products = vmull_s8(vget_low_s8(a), vget_low_s8(b));
      products = vmlal_s8(products, vget_high_s8(a), vget_high_s8(b));
      sum = vpadalq_s16(sum, products);
    }
  }
  return lanes_of(sums, sizeof sums);
}

__attribute__((target("arch=armv8.2-a+dotprod"))) std::int64_t sdot() {
  int32x4_t sums[kSums];
  int8x16_t a = vdupq_n_s8(3);
  const int8x16_t b = vdupq_n_s8(-5);
  for (auto& sum : sums) sum = vdupq_n_s32(0);
  for (int round = 0; round < kRounds; ++round) {
    __asm__ volatile("" : "+w"(a));
    for (auto& sum : sums) sum = vdotq_s32(sum, a, b);
  }
  return lanes_of(sums, sizeof sums);
}
#endif

Instruction instruction_of(const std::string& set) {
  // Bytes of a vector are as many products.
  [[maybe_unused]] const auto of = [](const char* name, Loop loop, double products) {
    return Instruction{name, loop, 2 * products * kSums * kRounds};
  };
#ifdef DBELL_X86_PEAKS
  if (set == "avx512vnni") return of("vpdpbusd zmm", dpbusd_512, 64);
#ifdef DBELL_HAVE_AVXVNNI_PEAK
  if (set == "avxvnni") return of("vpdpbusd ymm", dpbusd_256, 32);
#endif
  if (set == "avx512") return of("vpmaddubsw zmm", maddubs_512, 64);
  if (set == "avx2") return of("vpmaddubsw ymm", maddubs_256, 32);
  if (set == "sse41") return of("pmaddubsw", maddubs_128, 16);
#endif
#ifdef DBELL_ARM_PEAKS
  if (set == "neon") return of("smull, smlal, sadalp", mlal, 16);
  if (set.rfind("neon", 0) == 0) return of("sdot", sdot, 16);
#endif
  return {"a plain loop", plain_loop, 2.0 * 64 * (kRounds / 16)};
}

}  // namespace

Int8Peak measure_int8_peak(const std::string& instruction_set, int passes) {
  const Instruction instruction = instruction_of(instruction_set);
  const int threads = thread_count();
  std::atomic<std::int64_t> sink{0};
  double seconds = std::numeric_limits<double>::infinity();
  for (int pass = 0; pass < passes; ++pass) {
    const auto started_at = std::chrono::steady_clock::now();
    parallel_for(static_cast<std::size_t>(threads), 1, [&](std::size_t begin, std::size_t end) {
      for (std::size_t i = begin; i < end; ++i) sink.fetch_add(instruction.loop(), std::memory_order_relaxed);
    });
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - started_at;
    seconds = std::min(seconds, took.count());
  }
  return {instruction.operations * threads / seconds, threads, instruction.name};
}

}  // namespace dbell
