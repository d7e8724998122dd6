/* The integers of integers.h. */
#include "integers.h"

#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif

#include <string.h>

#if defined(__ARM_FEATURE_SIMD32) && !defined(__ARM_BIG_ENDIAN) && !defined(AETOOL_PLAIN)
#include <arm_acle.h>
#define PAIRS
#endif

enum { OUTPUTS = 4 };

#ifdef PAIRS
/* The bytes at odd places, as two numbers of 16 bits. */
static int16x2_t odd_bytes(int8x4_t bytes) {
  const uint32_t bits = (uint32_t)bytes;
  return __sxtb16((int8x4_t)(bits >> 8 | bits << 24));
}
#endif

/* Sums of four outputs, whose weights lie one after the other. */
static void four_sums(int32_t *sums, const int8_t *a, const int8_t *weights, size_t n) {
  const int8_t *const w0 = weights, *const w1 = w0 + n, *const w2 = w1 + n, *const w3 = w2 + n;
  int32_t s0 = sums[0], s1 = sums[1], s2 = sums[2], s3 = sums[3];
  size_t i = 0;
#ifdef PAIRS
  for (; i + 4 <= n; i += 4) { /* Cortex-M with DSP instructions: two products at once */
    int8x4_t x, y;
    memcpy(&x, a + i, 4);
    const int16x2_t even = __sxtb16(x), odd = odd_bytes(x);
#define TWICE(sum, w) \
  memcpy(&y, w + i, 4); \
  sum = __smlad(__sxtb16(y), even, sum); \
  sum = __smlad(odd_bytes(y), odd, sum);
    TWICE(s0, w0)
    TWICE(s1, w1)
    TWICE(s2, w2)
    TWICE(s3, w3)
  }
#endif
  for (; i < n; i++) {
    const int32_t x = a[i];
    s0 += x * w0[i];
    s1 += x * w1[i];
    s2 += x * w2[i];
    s3 += x * w3[i];
  }
  sums[0] = s0, sums[1] = s1, sums[2] = s2, sums[3] = s3;
}

/* Sums of `count` outputs, four at most. */
static void few_sums(int32_t *sums, const int8_t *a, const int8_t *weights, size_t n, size_t count) {
  if (count == OUTPUTS) {
    four_sums(sums, a, weights, n);
    return;
  }
  for (size_t k = 0; k < count; k++)
    for (size_t i = 0; i < n; i++) sums[k] += (int32_t)a[i] * weights[k * n + i];
}

/* To the nearest of number / 2**shift, upwards where two are as near; from -2**24 to 2**24. */
static int32_t shifted(int64_t number, int32_t shift) {
  const int64_t rounded = number + ((int64_t)1 << (shift - 1));
  const int64_t found = rounded >= 0 ? rounded >> shift : ~(~rounded >> shift);
  const int64_t limit = (int64_t)1 << 24;
  return (int32_t)(found < -limit ? -limit : found > limit ? limit : found);
}

static int32_t smaller(int32_t a, int32_t b) { return a < b ? a : b; }

static int32_t within_int8(int32_t number) { return number < -128 ? -128 : smaller(number, 127); }

void aetool_quantize(int8_t *out, const float *a, const float *centre, const float *gain, size_t n) {
  const float round = 12582912.0f; /* 1.5 * 2**23: adding it leaves whole numbers */
  for (size_t i = 0; i < n; i++) {
    const float scaled = (a[i] - centre[i]) * gain[i];
    const float inside = scaled > -127.0f ? (scaled < 127.0f ? scaled : 127.0f) : -127.0f;
    const float whole = (inside + round) - round;
    out[i] = (int8_t)whole;
  }
}

void aetool_dense_int8(int8_t *out, const int8_t *a, const int8_t *weights, const int32_t *bias,
    const int32_t *multipliers, const aetool_requantisation *how, const int8_t *bytes, size_t n, size_t m) {
  for (size_t j = 0; j < m; j += OUTPUTS) {
    const size_t count = m - j < OUTPUTS ? m - j : OUTPUTS;
    int32_t sums[OUTPUTS];
    memcpy(sums, bias + j, count * sizeof *sums);
    few_sums(sums, a, weights + j * n, n, count);
    for (size_t k = 0; k < count; k++) {
      int32_t number = shifted((int64_t)sums[k] * multipliers[j + k], how->shift);
      if (how->bends && number < 0) number = shifted((int64_t)number * how->slope, how->slope_shift);
      number = within_int8(number + how->zero);
      out[j + k] = how->table < 0 ? (int8_t)number : bytes[how->table + number + 128];
    }
  }
}

void aetool_dense_int8_last(float *out, const int8_t *a, const int8_t *weights, const int32_t *bias,
    const float *scale, const float *begins, size_t n, size_t m) {
  for (size_t j = 0; j < m; j += OUTPUTS) {
    const size_t count = m - j < OUTPUTS ? m - j : OUTPUTS;
    int32_t sums[OUTPUTS];
    memcpy(sums, bias + j, count * sizeof *sums);
    few_sums(sums, a, weights + j * n, n, count);
    for (size_t k = 0; k < count; k++) {
      const float product = (float)sums[k] * scale[j + k];
      out[j + k] = begins[j + k] + product;
    }
  }
}

void aetool_dequantize(float *out, const int8_t *a, int32_t zero, float scale, size_t n) {
  for (size_t i = 0; i < n; i++) out[i] = (float)((int32_t)a[i] - zero) * scale;
}
