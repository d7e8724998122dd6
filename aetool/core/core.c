/* The steps of core.h. Compiled once for each kind of vector; the arithmetic is the same in all of them. */
#include "core.h"
#ifdef AETOOL_INTEGERS
#include "integers.h"
#endif

#include <string.h>

#ifdef AETOOL_RUN /* where one program has several kinds of vectors: this one's name */
#define aetool_run_with AETOOL_RUN
#endif

#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif
#if defined(__FLT_EVAL_METHOD__) && __FLT_EVAL_METHOD__ != 0 && __FLT_EVAL_METHOD__ != 16
#error "float expressions must be rounded to float: on 32-bit x86 compile with -msse2 -mfpmath=sse"
#endif

/* Dense layers.
 *
 * Weights lie in panels of AETOOL_PANEL outputs: all inputs' weights of the first 64 outputs, then of the next 64;
 * the last panel is as wide as what is left of the `b` outputs that they are filled up to. Among the bfloat16 weights of a panel,
 * each 32 outputs that are whole lie as 16 pairs of output j and j + 16, which one shift and one mask widen. A tile
 * keeps the sums of some outputs in registers while it walks over the inputs, so that no sum is ever split. */

#if defined(__GNUC__) && !defined(AETOOL_PLAIN)
#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX__)
#define LANES 8
#elif defined(__SSE2__) || defined(__aarch64__) || defined(__wasm_simd128__)
#define LANES 4
#endif
#endif

#ifdef LANES
typedef float vector __attribute__((vector_size(4 * LANES)));
typedef float unaligned_vector __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef uint32_t bits_vector __attribute__((vector_size(4 * LANES)));
typedef uint32_t unaligned_bits __attribute__((vector_size(4 * LANES), aligned(2), may_alias));
#define AHEAD(address) __builtin_prefetch(address)
#define UNROLL _Pragma("GCC unroll 16")
#define APART
#else
#define LANES 1
#if defined(__GNUC__)
#define APART __attribute__((noinline)) /* so that no function's stack holds what another one needs */
#else
#define APART
#endif
typedef float vector;
typedef float unaligned_vector;
#define AHEAD(address) (void)(address)
#define UNROLL
#endif

static inline float widen(uint16_t half) {
  const uint32_t bits = (uint32_t)half << 16;
  float number;
  memcpy(&number, &bits, sizeof number);
  return number;
}

#define LOAD(from) (*(const unaligned_vector *)(from))
#define STORE(to, value) (*(unaligned_vector *)(to) = (value))
#define ALL(number) ((number) - (vector){0})

/* Distance, in weights, at which the cache is asked for what comes: the processor alone sees too little ahead. */
#define DISTANCE 512

typedef void tile(const void *weights, size_t stride, const float *x, size_t x_stride, float *sums, size_t n);

/* `rows` x `width` sums, which begin as they are in `sums`, (rows, AETOOL_PANEL). */
#define TILE(name, type, read, rows, width) \
  static void name(const void *weights, size_t stride, const float *x, size_t x_stride, float *sums, size_t n) { \
    enum { vectors = (width) / LANES }; \
    const type *w = weights; \
    vector sum[rows][vectors]; \
    UNROLL for (int r = 0; r < (rows); r++) \
      UNROLL for (int v = 0; v < vectors; v++) sum[r][v] = LOAD(sums + r * AETOOL_PANEL + v * LANES); \
    for (size_t i = 0; i < n; i++, w += stride) { \
      UNROLL for (size_t ahead = 0; ahead < (width); ahead += 64 / sizeof(type)) AHEAD(w + DISTANCE + ahead); \
      vector weight[vectors]; \
      read(weight, w) \
      UNROLL for (int r = 0; r < (rows); r++) { \
        const vector number = ALL(x[(size_t)r * x_stride + i]); \
        UNROLL for (int v = 0; v < vectors; v++) sum[r][v] = sum[r][v] + number * weight[v]; \
      } \
    } \
    UNROLL for (int r = 0; r < (rows); r++) \
      UNROLL for (int v = 0; v < vectors; v++) STORE(sums + r * AETOOL_PANEL + v * LANES, sum[r][v]); \
  }

#define READ(weight, w) UNROLL for (int v = 0; v < vectors; v++) weight[v] = LOAD(w + v * LANES);

#define PAIRS_OF_16 (16 / LANES)
#define READ_PAIRS(weight, w) \
  UNROLL for (int v = 0; v < vectors / 2; v++) { \
    const bits_vector pairs = *(const unaligned_bits *)(const void *)(w + 2 * v * LANES); \
    const int low = v / PAIRS_OF_16 * 2 * PAIRS_OF_16 + v % PAIRS_OF_16; \
    weight[low] = (vector)(pairs << 16); \
    weight[low + PAIRS_OF_16] = (vector)(pairs & 0xFFFF0000u); \
  }

/* The widest tile of one row that the registers hold, and those of two rows and of four. */
#if LANES == 16
#define WIDE 64
#define WIDE_2 64
#define WIDE_4 64
#elif LANES == 8
#define WIDE 64
#define WIDE_2 32
#define WIDE_4 16
#elif defined(__aarch64__)
#define WIDE 64
#define WIDE_2 32
#define WIDE_4 16
#elif LANES == 4
#define WIDE 32
#endif

#if LANES > 1
TILE(wide, float, READ, 1, WIDE)
TILE(middle, float, READ, 1, 16)
TILE(wide_bf16, uint16_t, READ_PAIRS, 1, WIDE)
TILE(middle_bf16, uint16_t, READ_PAIRS, 1, 32)
#ifdef WIDE_4
TILE(wide_2, float, READ, 2, WIDE_2)
TILE(wide_4, float, READ, 4, WIDE_4)
TILE(wide_2_bf16, uint16_t, READ_PAIRS, 2, WIDE_2)
#endif
#if LANES == 16
TILE(wide_4_bf16, uint16_t, READ_PAIRS, 4, WIDE_4)
#endif
#endif

/* Four outputs of one row: what is left over, and all there is where there are no vectors. */
#define NARROW(name, type, read, step) \
  static APART void name(const void *weights, size_t stride, const float *x, size_t x_stride, float *sums, size_t n) { \
    const type *w = weights; \
    float sum_0 = sums[0], sum_1 = sums[1], sum_2 = sums[2], sum_3 = sums[3]; \
    (void)x_stride; \
    for (size_t i = 0; i < n; i++, w += stride) { \
      const float number = x[i]; \
      sum_0 = sum_0 + number * read(w[0]); \
      sum_1 = sum_1 + number * read(w[step]); \
      sum_2 = sum_2 + number * read(w[2 * step]); \
      sum_3 = sum_3 + number * read(w[3 * step]); \
    } \
    sums[0] = sum_0, sums[1] = sum_1, sums[2] = sum_2, sums[3] = sum_3; \
  }
NARROW(narrow, float, , 1)
NARROW(narrow_bf16, uint16_t, widen, 1)
NARROW(narrow_pairs, uint16_t, widen, 2)

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

/* Numbers of each row: row r begins at `at` + r * stride. */
typedef struct {
  float *at;
  size_t stride;
} numbers;

/* Where in a panel of `width` bfloat16 weights output j stands. */
static size_t place_of_half(size_t j, size_t width) {
  const size_t group = j / 32 * 32;
  return group + 32 > width ? j : group + j % 16 * 2 + j % 32 / 16;
}

#if LANES > 1

static const float *row_of(numbers values, size_t row) { return values.at + row * values.stride; }

typedef struct {
  tile *run;
  size_t rows, width;
} sized_tile;

/* From the largest to the smallest, which always fits. */
static const sized_tile float_tiles[] = {
#ifdef WIDE_4
    {wide_4, 4, WIDE_4},
    {wide_2, 2, WIDE_2},
#endif
#if LANES > 1
    {wide, 1, WIDE},
    {middle, 1, 16},
#endif
    {narrow, 1, 4},
};

static const sized_tile pair_tiles[] = {
#if LANES == 16
    {wide_4_bf16, 4, WIDE_4},
#endif
#ifdef WIDE_4
    {wide_2_bf16, 2, WIDE_2},
#endif
#if LANES > 1
    {wide_bf16, 1, WIDE},
    {middle_bf16, 1, 32},
#endif
    {narrow_pairs, 1, 4},
};

static const sized_tile rest_tiles[] = {{narrow_bf16, 1, 4}};

enum { TOGETHER = AETOOL_ROWS < 4 ? AETOOL_ROWS : 4 };

static void dense(
    const aetool_step *step, const char *weights, size_t size, numbers out, numbers a, numbers c, size_t rows) {
  const size_t n = (size_t)step->n, m = (size_t)step->m, filled = (size_t)step->b;
  const int halves = size == sizeof(uint16_t);
  float sums[TOGETHER * AETOOL_PANEL];
  for (size_t first = 0; first < m; first += AETOOL_PANEL) {
    const size_t real = smaller(AETOOL_PANEL, m - first), width = smaller(AETOOL_PANEL, filled - first);
    const size_t pairs = halves ? width / 32 * 32 : 0;
    for (size_t row = 0, count; row < rows; row += count) {
      count = smaller(TOGETHER, rows - row >= 4 ? 4 : rows - row >= 2 ? 2 : 1);
      for (size_t r = 0; r < count; r++) {
        memcpy(sums + r * AETOOL_PANEL, row_of(c, row + r) + first, real * sizeof(float));
        for (size_t j = real; j < width; j++) sums[r * AETOOL_PANEL + j] = 0;
      }
      const sized_tile *now = halves ? pair_tiles : float_tiles;
      for (size_t j = 0; j < width; j += now->width) {
        if (halves && j == pairs) now = rest_tiles;
        while (now->width > (j < pairs ? pairs : width) - j || now->rows > count) now++;
        const char *const from = weights + (halves ? place_of_half(j, width) : j) * size;
        for (size_t r = 0; r < count; r += now->rows)
          now->run(from, width, row_of(a, row + r), a.stride, sums + r * AETOOL_PANEL + j, n);
      }
      for (size_t r = 0; r < count; r++)
        memcpy(out.at + (row + r) * out.stride + first, sums + r * AETOOL_PANEL, real * sizeof(float));
    }
    weights += n * width * size;
  }
}

#else

/* Without vectors, row by row, four outputs at once: a microcontroller's stack is small. */
#define DENSE_ROW(name, type, place, run) \
  static APART void name(const aetool_step *step, const type *weights, float *out, const float *a, const float *c) { \
    const size_t n = (size_t)step->n; \
    for (size_t j = 0; j < (size_t)step->m; j += 4) { \
      const size_t k = j % AETOOL_PANEL, width = smaller(AETOOL_PANEL, (size_t)step->b - (j - k)); \
      const size_t real = smaller(4, (size_t)step->m - j) * sizeof(float); \
      float sums[4] = {0}; \
      memcpy(sums, c + j, real); \
      run(weights + n * (j - k) + place, width, a, 0, sums, n); \
      memcpy(out + j, sums, real); \
    } \
  }
DENSE_ROW(dense_row, float, k, narrow)
DENSE_ROW(dense_row_bf16, uint16_t, place_of_half(k, width), (k < width / 32 * 32 ? narrow_pairs : narrow_bf16))

#endif

/* Activations: polynomials of our own, within 4 units in the last place; docs/core.md gives their sources.
 *
 * exp(a + rest) = mantissa * 2**exponent, with a from -105 to 90 and rest near 0. Cody and Waite's reduction: the
 * high part of ln 2 times the exponent is exact. */

typedef struct {
  float mantissa;
  int32_t exponent;
} scaled;

static inline uint32_t bits_of(float number) {
  uint32_t bits;
  memcpy(&bits, &number, sizeof bits);
  return bits;
}

static inline float power_of_two(int32_t exponent) {
  const uint32_t bits = (uint32_t)(exponent + 127) << 23;
  float number;
  memcpy(&number, &bits, sizeof number);
  return number;
}

/* number * 2**exponent, in two steps, so that neither factor leaves the range. */
static inline float times_power(float number, int32_t exponent) {
  const int32_t half = exponent / 2;
  return number * power_of_two(half) * power_of_two(exponent - half);
}

/* exp(r) - 1 for r within half of ln 2. */
static inline float small_exp_minus_1(float r) {
  float p = 1.39504911e-3f;
  p = p * r + 8.36888935e-3f;
  p = p * r + 4.16662058e-2f;
  p = p * r + 1.66665188e-1f;
  p = p * r + 5.0e-1f;
  return p * (r * r) + r;
}

static inline float reduced(float a, float rest, int32_t *exponent) {
  const float round = 12582912.0f; /* 1.5 * 2**23: adding it leaves whole numbers */
  const float shifted = a * 1.44269504f + round;
  const float whole = shifted - round;
  *exponent = (int32_t)(bits_of(shifted) - bits_of(round));
  return ((a - whole * 0.693359375f) - whole * -2.12194440e-4f) + rest;
}

static inline scaled exp_of(float a, float rest) {
  scaled result;
  const float r = reduced(a, rest, &result.exponent);
  result.mantissa = 1.0f + small_exp_minus_1(r);
  return result;
}

static inline float absolute(float x) { return x < 0 ? -x : x; }

static inline float at_least(float x, float least) { return x < least ? least : x; }

static inline float sigmoid(float x) {
  const scaled e = exp_of(at_least(-absolute(x), -105.0f), 0);
  const float divisor = 1.0f + times_power(e.mantissa, e.exponent);
  return x >= 0 ? 1.0f / divisor : times_power(e.mantissa / divisor, e.exponent);
}

static inline float silu(float x) {
  const scaled e = exp_of(at_least(-absolute(x), -111.0f), 0);
  const float divisor = 1.0f + times_power(e.mantissa, e.exponent);
  if (x < -110.0f) return x * 0.0f;
  return x >= 0 ? x / divisor : times_power(x * e.mantissa / divisor, e.exponent);
}

static inline float elu(float x, float alpha) {
  int32_t exponent;
  const float r = reduced(at_least(x < 0 ? x : 0, -40.0f), 0, &exponent);
  const float scale = power_of_two(exponent);
  const float below = alpha * (small_exp_minus_1(r) * scale + (scale - 1.0f));
  return x < 0 ? below : x;
}

static inline float hyperbolic_tangent(float x) {
  const float size = absolute(x), square = x * x;
  const scaled e = exp_of(at_least(-2.0f * size, -40.0f), 0);
  const float t = times_power(e.mantissa, e.exponent);
  const float large = (1.0f - t) / (1.0f + t);
  float p = -5.54312261e-3f;
  p = p * square + 2.04966461e-2f;
  p = p * square + -5.36971387e-2f;
  p = p * square + 1.33309503e-1f;
  p = p * square + -3.33332647e-1f;
  const float near = x + x * (square * p);
  return size > 0.625f ? (x < 0 ? -large : large) : near;
}

/* x times the normal distribution's share below x. The share beyond |x| is exp(-x**2 / 2) * q(|x|); the square is
 * taken in two parts, since a rounded one would be multiplied by the exponential. */
static inline float gelu(float x) {
  const float size = absolute(x), near = size < 15.0f ? size : 15.0f;
  const uint32_t bits = bits_of(near) & 0xFFFFF000u;
  float high;
  memcpy(&high, &bits, sizeof high);
  const float low = near - high;
  int32_t exponent;
  const float s = small_exp_minus_1(reduced(-0.5f * (high * high), -0.5f * (low * (near + high)), &exponent));
  const float u = (near - 4.0f) / (near + 4.0f);
  float q = -7.19821401e-05f;
  q = q * u + -6.15426834e-05f;
  q = q * u + 0.000692214468f;
  q = q * u + -0.000303441077f;
  q = q * u + -0.00500394683f;
  q = q * u + 0.0179402269f;
  q = q * u + -0.0321973488f;
  q = q * u + 0.0285999682f;
  q = q * u + 0.013999607f;
  q = q * u + -0.0967034698f;
  q = q * u + 0.4720532f;
  const float share = x * (q / (near + 1.0f));
  const float beyond = times_power(share + share * s, exponent);
  if (size > 15.0f) return x > 0 ? x : x * 0.0f;
  return x >= 0 ? x - beyond : beyond;
}

/* The nearest float32 to the square root, bit by bit: some chips have none. */
static float square_root(float x) {
  if (!(x > 0)) return x == 0 ? x : (x - x) / (x - x); /* NaN below 0 */
  if (x > 3.40282347e38f) return x;
  int32_t exponent = 0;
  if (x < 1.17549435e-38f) x *= 16777216.0f, exponent = -24;
  const uint32_t bits = bits_of(x);
  uint64_t square = (bits & 0x7FFFFFu) | 0x800000u;
  exponent += (int32_t)(bits >> 23) - 150; /* x = square * 2**exponent */
  square <<= exponent % 2 != 0 ? 25 : 26; /* leaves an even exponent */
  exponent -= exponent % 2 != 0 ? 25 : 26;
  uint64_t root = 0;
  for (uint64_t bit = (uint64_t)1 << 25; bit; bit >>= 1)
    if ((root | bit) * (root | bit) <= square) root |= bit;
  return (float)((root + 1) / 2) * power_of_two(exponent / 2 + 1); /* never half between two numbers */
}

/* Sums: number i goes to lane i modulo 16, in order; then the lanes are added in halves. */

enum { SUM_LANES = 16 };

#if LANES == 1
/* Lane by lane, in an order in which few sums wait to be added. */
static APART float sum_of(const float *values, size_t n, int squares) {
  float waiting[4] = {0}, sum = 0;
  size_t count = 0;
  for (size_t k = 0; k < SUM_LANES; k++) {
    sum = 0;
    for (size_t i = (k & 1) << 3 | (k & 2) << 1 | (k & 4) >> 1 | k >> 3; i < n; i += SUM_LANES) {
      const float value = values[i];
      sum = sum + (squares ? value * value : value);
    }
    for (size_t pairs = k; pairs & 1; pairs >>= 1) sum = waiting[--count] + sum;
    if (k < SUM_LANES - 1) waiting[count++] = sum;
  }
  return sum;
}
#else
static float sum_of(const float *values, size_t n, int squares) {
  float lanes[SUM_LANES] = {0};
  size_t i = 0;
  for (; i + SUM_LANES <= n; i += SUM_LANES)
    for (size_t k = 0; k < SUM_LANES; k++) {
      const float value = values[i + k];
      lanes[k] = lanes[k] + (squares ? value * value : value);
    }
  for (size_t k = 0; i + k < n; k++) {
    const float value = values[i + k];
    lanes[k] = lanes[k] + (squares ? value * value : value);
  }
  for (size_t half = SUM_LANES / 2; half; half /= 2)
    for (size_t k = 0; k < half; k++) lanes[k] = lanes[k] + lanes[k + half];
  return lanes[0];
}
#endif

static float arg_max(const float *values, size_t n) {
  size_t best = 0;
  for (size_t i = 1; i < n; i++)
    if (values[i] > values[best]) best = i;
  return (float)best;
}

/* The largest number, in 16 lanes as a sum has them; NaN if there is one. A zero is +0, whatever the order. */
static float max_of(const float *values, size_t n) {
  float lanes[SUM_LANES], found = values[0];
  size_t i = SUM_LANES;
  if (n >= SUM_LANES) {
    for (size_t k = 0; k < SUM_LANES; k++) lanes[k] = values[k];
    for (; i + SUM_LANES <= n; i += SUM_LANES)
      for (size_t k = 0; k < SUM_LANES; k++) {
        const float value = values[i + k];
        lanes[k] = lanes[k] >= value || lanes[k] != lanes[k] ? lanes[k] : value;
      }
    for (size_t half = SUM_LANES / 2; half; half /= 2)
      for (size_t k = 0; k < half; k++) {
        const float value = lanes[k + half];
        lanes[k] = lanes[k] >= value || lanes[k] != lanes[k] ? lanes[k] : value;
      }
    found = lanes[0];
  } else {
    i = 1;
  }
  for (; i < n; i++) found = found >= values[i] || found != found ? found : values[i];
  return found + 0.0f;
}

/* Running */

#define PLACE_MASK (((int32_t)1 << AETOOL_PLACE_BITS) - 1)

static int32_t space_of(int32_t place) { return place >> AETOOL_PLACE_BITS; }

/* Rows that go through the steps together. */
typedef struct {
  const aetool_plan *plan;
  const float *input, *second; /* of the first one */
  float *const *outputs;
  float *work;
  size_t done; /* rows before them */
} block;

/* Numbers of a row that lie between two rows at a place. */
static inline size_t stride_of(const aetool_plan *plan, int32_t place) {
  const int32_t space = space_of(place);
  if (space == AETOOL_WORK) return (size_t)plan->n_work;
  if (space == AETOOL_INPUT) return (size_t)plan->n_input;
  if (space == AETOOL_CONSTANT) return 0;
  if (space == AETOOL_SECOND) return (size_t)plan->n_second;
  return (size_t)plan->output[space - AETOOL_OUTPUT];
}

/* Where the first row's numbers are; inputs and constants are read only. */
static float *find(const block *rows, int32_t place) {
  const int32_t space = space_of(place), offset = place & PLACE_MASK;
  if (space == AETOOL_WORK) return rows->work + offset;
  if (space == AETOOL_INPUT) return (float *)(uintptr_t)(rows->input + offset);
  if (space == AETOOL_CONSTANT) return (float *)(uintptr_t)(rows->plan->floats + offset);
  if (space == AETOOL_SECOND) return (float *)(uintptr_t)(rows->second + offset);
  float *const output = rows->outputs[space - AETOOL_OUTPUT];
  return output ? output + rows->done * stride_of(rows->plan, place) + offset : NULL;
}

#define EACH(operation, expression) \
  case operation: \
    for (size_t i = 0; i < n; i++) { \
      const float x = a[i]; \
      out[i] = (expression); \
    } \
    break;

#define PAIRS(operation, expression) \
  case operation: \
    if (step->m == 1) { \
      const float y = b[0]; \
      for (size_t i = 0; i < n; i++) { \
        const float x = a[i]; \
        out[i] = (expression); \
      } \
    } else { \
      for (size_t i = 0; i < n; i++) { \
        const float x = a[i], y = b[i]; \
        out[i] = (expression); \
      } \
    } \
    break;

#ifdef AETOOL_INTEGERS
static void run_integers(
    const aetool_plan *plan, const aetool_step *step, float *out, const float *a, const float *b, const float *c) {
  const size_t n = (size_t)step->n, m = (size_t)step->m;
  if (step->operation == AETOOL_QUANTIZE) {
    aetool_quantize((int8_t *)out, a, b, c, n);
  } else if (step->operation == AETOOL_DEQUANTIZE) {
    aetool_dequantize(out, (const int8_t *)a, step->m - 129, step->alpha, n);
  } else {
    const int32_t *const numbers = plan->indexes + step->offset;
    const int8_t *const weights = plan->bytes + numbers[0], *const from = (const int8_t *)a;
    if (step->operation == AETOOL_DENSE_INT8_LAST) {
      aetool_dense_int8_last(out, from, weights, numbers + 1, b, c, n, m);
    } else {
      aetool_requantisation how;
      memcpy(&how, numbers + 1, sizeof how);
      const int32_t *const bias = numbers + 1 + sizeof how / sizeof *numbers;
      aetool_dense_int8((int8_t *)out, from, weights, bias, bias + m, &how, plan->bytes, n, m);
    }
  }
}
#endif

static APART void run_row(
    const aetool_plan *plan, const aetool_step *step, float *out, const float *a, const float *b, const float *c) {
  const size_t n = (size_t)step->n, m = (size_t)step->m;
  const float alpha = step->alpha;
  switch (step->operation) {
    case AETOOL_COPY:
      memmove(out, a, n * sizeof(float));
      break;
    EACH(AETOOL_LEAKY_RELU, x < 0 ? alpha * x : x)
    EACH(AETOOL_RELU, x < 0 ? 0 : x)
    EACH(AETOOL_ELU, elu(x, alpha))
    EACH(AETOOL_GELU, gelu(x))
    EACH(AETOOL_SILU, silu(x))
    EACH(AETOOL_TANH, hyperbolic_tangent(x))
    EACH(AETOOL_SIGMOID, sigmoid(x))
    EACH(AETOOL_ABS, absolute(x))
    EACH(AETOOL_NEGATE, -x)
    EACH(AETOOL_SQRT, square_root(x))
    EACH(AETOOL_IS_NAN, x == x ? 0.0f : 1.0f)
    EACH(AETOOL_NOT, x == 0 ? 1.0f : 0.0f)
    PAIRS(AETOOL_ADD, x + y)
    PAIRS(AETOOL_SUBTRACT, x - y)
    PAIRS(AETOOL_MULTIPLY, x * y)
    PAIRS(AETOOL_DIVIDE, x / y)
    PAIRS(AETOOL_EQUAL, x == y ? 1.0f : 0.0f)
    PAIRS(AETOOL_LESS_OR_EQUAL, x <= y ? 1.0f : 0.0f)
    case AETOOL_SELECT:
      for (size_t i = 0; i < n; i++) out[i] = c[i] != 0 ? a[i] : b[i];
      break;
    case AETOOL_GATHER:
      for (size_t i = 0; i < n; i++) out[i] = a[plan->indexes[(size_t)step->offset + i]];
      break;
    case AETOOL_SUM:
      for (size_t i = 0; i < n; i++) out[i] = sum_of(a + i * m, m, 0);
      break;
    case AETOOL_SUM_OF_SQUARES:
      for (size_t i = 0; i < n; i++) out[i] = sum_of(a + i * m, m, 1);
      break;
    case AETOOL_ARG_MAX:
      for (size_t i = 0; i < n; i++) out[i] = arg_max(a + i * m, m);
      break;
    case AETOOL_MAX:
      for (size_t i = 0; i < n; i++) out[i] = max_of(a + i * m, m);
      break;
    case AETOOL_ROW:
      memmove(out, b + (a[0] > 0 && a[0] < (float)m ? (size_t)a[0] : 0) * n, n * sizeof(float));
      break;
    default:
#ifdef AETOOL_INTEGERS
      run_integers(plan, step, out, a, b, c);
#endif
      break;
  }
}

static inline void run_step(const block *rows, const aetool_step *step, size_t count) {
  const aetool_plan *const plan = rows->plan;
  float *const out = find(rows, step->out), *const a = find(rows, step->a), *const c = find(rows, step->c);
  if (!out) return;
  if (step->operation == AETOOL_DENSE || step->operation == AETOOL_DENSE_BF16) {
#if LANES > 1
    const int halves = step->operation == AETOOL_DENSE_BF16;
    const char *const weights =
        halves ? (const char *)(plan->halves + step->offset) : (const char *)(plan->floats + step->offset);
    const numbers to = {out, stride_of(plan, step->out)}, x = {a, stride_of(plan, step->a)};
    const numbers begins = {c, stride_of(plan, step->c)};
    dense(step, weights, halves ? sizeof(uint16_t) : sizeof(float), to, x, begins, count);
#else
    if (step->operation == AETOOL_DENSE) dense_row(step, plan->floats + step->offset, out, a, c);
    else dense_row_bf16(step, plan->halves + step->offset, out, a, c);
#endif
    return;
  }
  const float *const b = find(rows, step->b);
  for (size_t row = 0; row < count; row++) {
    float *const to = out + row * stride_of(plan, step->out);
    const float *const x = a + row * stride_of(plan, step->a);
#if LANES == 1 /* not from run_row, whose stack comes on top */
    if (step->operation == AETOOL_SUM || step->operation == AETOOL_SUM_OF_SQUARES) {
      const size_t m = (size_t)step->m;
      for (size_t i = 0; i < (size_t)step->n; i++) to[i] = sum_of(x + i * m, m, step->operation != AETOOL_SUM);
      continue;
    }
#endif
    run_row(plan, step, to, x, b + row * stride_of(plan, step->b), c + row * stride_of(plan, step->c));
  }
}

void aetool_run_with(const aetool_plan *plan, const float *input, const float *second, float *const *outputs,
                     size_t rows, float *work) {
  for (size_t done = 0; done < rows;) {
    const size_t count = LANES == 1 ? 1 : smaller(AETOOL_ROWS, rows - done);
    const float *const also = second ? second + done * (size_t)plan->n_second : NULL;
    const block now = {plan, input + done * (size_t)plan->n_input, also, outputs, work, done};
    for (int32_t i = 0; i < plan->n_steps; i++) run_step(&now, plan->steps + i, count);
    done += count;
  }
}

#ifndef AETOOL_RUN

/* Checking */

/* Whether `count` numbers from `place` on are there to be read, or written. */
static int holds(const aetool_plan *plan, int32_t place, int64_t count, int written) {
  const int32_t space = space_of(place);
  int64_t there = -1;
  if (place < 0) return 0;
  if (space == AETOOL_WORK) there = plan->n_work;
  if (space == AETOOL_INPUT && !written) there = plan->n_input;
  if (space == AETOOL_CONSTANT && !written) there = plan->n_floats;
  if (space == AETOOL_SECOND && !written && plan->n_second) there = plan->n_second;
  if (space >= AETOOL_OUTPUT && space - AETOOL_OUTPUT < plan->n_outputs && written)
    there = plan->output[space - AETOOL_OUTPUT];
  return (place & PLACE_MASK) <= there - count;
}

static int dense_is_sound(const aetool_plan *plan, const aetool_step *step) {
  const int64_t there = step->operation == AETOOL_DENSE ? plan->n_floats : plan->n_halves;
  const int64_t n = step->n, m = step->m, filled = step->b;
  if (filled % 4 || filled < m || (filled - 1) / AETOOL_PANEL != (m - 1) / AETOOL_PANEL) return 0;
  return n * filled <= there - step->offset && holds(plan, step->out, m, 1) && holds(plan, step->a, n, 0) &&
         holds(plan, step->c, m, 0);
}

static int step_is_sound(const aetool_plan *plan, const aetool_step *step) {
  const int32_t operation = step->operation;
  const int64_t n = step->n, m = step->m;
  int64_t read_a = n, read_b = 0, read_c = 0;
  /* Plans with integers are compiled in, and never checked. */
  if (operation < 0 || operation >= AETOOL_STEPS || n < 1 || m < 1 || step->offset < 0) return 0;
  if (operation >= AETOOL_QUANTIZE && operation <= AETOOL_DEQUANTIZE) return 0;
  if (operation == AETOOL_DENSE || operation == AETOOL_DENSE_BF16) return dense_is_sound(plan, step);
  if (operation >= AETOOL_ADD && operation <= AETOOL_LESS_OR_EQUAL) {
    if (m != 1 && m != n) return 0;
    read_b = m;
  } else if (operation == AETOOL_SELECT) {
    read_b = read_c = n;
  } else if (operation == AETOOL_GATHER) {
    if (n > plan->n_indexes - (int64_t)step->offset) return 0;
    for (int64_t i = 0; i < n; i++)
      if (plan->indexes[step->offset + i] < 0 || plan->indexes[step->offset + i] >= m) return 0;
    read_a = m;
  } else if (operation == AETOOL_ROW) {
    if (m >= 1 << 24) return 0; /* a float32 holds the whole numbers up to there */
    read_a = 1, read_b = n * m;
  } else if (operation >= AETOOL_SUM) {
    read_a = n * m;
  }
  return holds(plan, step->out, n, 1) && holds(plan, step->a, read_a, 0) && holds(plan, step->b, read_b, 0) &&
         holds(plan, step->c, read_c, 0);
}

int32_t aetool_check(const aetool_plan *plan) {
  if (plan->n_steps < 0 || plan->n_floats < 0 || plan->n_halves < 0 || plan->n_indexes < 0 || plan->n_input < 1 ||
      plan->n_work < 0 || plan->n_second < 0 || plan->n_outputs < 1 || plan->n_outputs > AETOOL_OUTPUTS)
    return -1;
  for (int32_t k = 0; k < plan->n_outputs; k++)
    if (plan->output[k] < 1) return -1;
  for (int32_t i = 0; i < plan->n_steps; i++)
    if (!step_is_sound(plan, plan->steps + i)) return i + 1;
  return 0;
}

#endif
