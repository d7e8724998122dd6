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
typedef float quad __attribute__((vector_size(16)));
typedef float unaligned_quad __attribute__((vector_size(16), aligned(4), may_alias));
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

#define LOAD_AS(kind, from) (*(const unaligned_##kind *)(from))
#define LOAD(from) LOAD_AS(vector, from)
#define STORE(to, value) (*(unaligned_vector *)(to) = (value))
#define ALL(number) ((number) - (vector){0})

/* Distance, in weights, at which the cache is asked for what comes: the processor alone sees too little ahead. */
#define DISTANCE 512

/* Numbers of each row: row r begins at `at` + r * `stride`. */
typedef struct {
  float *at;
  size_t stride;
} numbers;

typedef void tile(const void *weights, size_t stride, numbers x, numbers begins, numbers sums, size_t n);

/* `rows` x `width` sums, which begin as in `begins`, in vectors of a kind. */
#define TILE_OF(kind, lanes, name, type, read, rows, width) \
  static void name(const void *weights, size_t stride, numbers x, numbers begins, numbers sums, size_t n) { \
    enum { vectors = (width) / (lanes) }; \
    const type *w = weights; \
    kind sum[rows][vectors]; \
    UNROLL for (size_t r = 0; r < (rows); r++) \
      UNROLL for (size_t v = 0; v < vectors; v++) \
        sum[r][v] = LOAD_AS(kind, begins.at + r * begins.stride + v * (lanes)); \
    for (size_t i = 0; i < n; i++, w += stride) { \
      UNROLL for (size_t ahead = 0; ahead < (width); ahead += 64 / sizeof(type)) AHEAD(w + DISTANCE + ahead); \
      kind weight[vectors]; \
      read(kind, lanes, weight, w) \
      UNROLL for (size_t r = 0; r < (rows); r++) { \
        const kind number = x.at[r * x.stride + i] - (kind){0}; \
        UNROLL for (int v = 0; v < vectors; v++) sum[r][v] = sum[r][v] + number * weight[v]; \
      } \
    } \
    UNROLL for (size_t r = 0; r < (rows); r++) \
      UNROLL for (size_t v = 0; v < vectors; v++) \
        *(unaligned_##kind *)(sums.at + r * sums.stride + v * (lanes)) = sum[r][v]; \
  }
#define TILE(name, type, read, rows, width) TILE_OF(vector, LANES, name, type, read, rows, width)

#define READ(kind, lanes, weight, w) \
  UNROLL for (int v = 0; v < vectors; v++) weight[v] = LOAD_AS(kind, w + v * (lanes));

#define PAIRS_OF_16 (16 / LANES)
#define READ_PAIRS(kind, lanes, weight, w) \
  UNROLL for (int v = 0; v < vectors / 2; v++) { \
    const bits_vector pairs = *(const unaligned_bits *)(const void *)(w + 2 * v * LANES); \
    const int low = v / PAIRS_OF_16 * 2 * PAIRS_OF_16 + v % PAIRS_OF_16; \
    weight[low] = (vector)(pairs << 16); \
    weight[low + PAIRS_OF_16] = (vector)(pairs & 0xFFFF0000u); \
  }

#if LANES > 1

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

/* Tiles as large as the registers hold, and smaller ones with as many sums that do not wait for each other. */
#if LANES == 16
TILE(float_4_64, float, READ, 4, 64)
TILE(float_4_16, float, READ, 4, 16)
TILE(float_2_64, float, READ, 2, 64)
TILE(float_2_32, float, READ, 2, 32)
TILE(float_2_16, float, READ, 2, 16)
TILE(float_1_64, float, READ, 1, 64)
TILE(float_1_48, float, READ, 1, 48)
TILE(pairs_4_64, uint16_t, READ_PAIRS, 4, 64)
TILE(pairs_4_32, uint16_t, READ_PAIRS, 4, 32)
TILE(pairs_2_64, uint16_t, READ_PAIRS, 2, 64)
TILE(pairs_1_64, uint16_t, READ_PAIRS, 1, 64)
#elif LANES == 8 || defined(__aarch64__)
TILE(float_4_16, float, READ, 4, 16)
TILE(float_2_32, float, READ, 2, 32)
TILE(float_2_16, float, READ, 2, 16)
TILE(float_1_64, float, READ, 1, 64)
TILE(pairs_2_32, uint16_t, READ_PAIRS, 2, 32)
TILE(pairs_1_64, uint16_t, READ_PAIRS, 1, 64)
#endif
TILE(float_1_32, float, READ, 1, 32)
TILE(float_1_16, float, READ, 1, 16)
#if LANES > 4 || defined(__aarch64__)
TILE_OF(quad, 4, float_4_8, float, READ, 4, 8)
TILE_OF(quad, 4, float_4_4, float, READ, 4, 4)
#endif
TILE_OF(quad, 4, float_1_8, float, READ, 1, 8)
TILE_OF(quad, 4, float_1_4, float, READ, 1, 4)
TILE(pairs_1_32, uint16_t, READ_PAIRS, 1, 32)

/* Four outputs of one row: what is left over of bfloat16 weights. */
static void narrow_bf16(const void *weights, size_t stride, numbers x, numbers begins, numbers sums, size_t n) {
  const uint16_t *w = weights;
  const float *const begin = begins.at;
  float sum_0 = begin[0], sum_1 = begin[1], sum_2 = begin[2], sum_3 = begin[3];
  for (size_t i = 0; i < n; i++, w += stride) {
    const float number = x.at[i];
    sum_0 = sum_0 + number * widen(w[0]);
    sum_1 = sum_1 + number * widen(w[1]);
    sum_2 = sum_2 + number * widen(w[2]);
    sum_3 = sum_3 + number * widen(w[3]);
  }
  sums.at[0] = sum_0, sums.at[1] = sum_1, sums.at[2] = sum_2, sums.at[3] = sum_3;
}

typedef struct {
  tile *run;
  size_t rows, width;
} sized_tile;

/* From those of most rows and outputs to the smallest one, which always fits. */
static const sized_tile float_tiles[] = {
#if LANES == 16
    {float_4_64, 4, 64}, {float_4_16, 4, 16}, {float_2_64, 2, 64}, {float_2_32, 2, 32}, {float_2_16, 2, 16},
    {float_1_64, 1, 64}, {float_1_48, 1, 48},
#elif LANES == 8 || defined(__aarch64__)
    {float_4_16, 4, 16}, {float_2_32, 2, 32}, {float_2_16, 2, 16}, {float_1_64, 1, 64},
#endif
    {float_1_32, 1, 32}, {float_1_16, 1, 16},
#if LANES > 4 || defined(__aarch64__)
    {float_4_8, 4, 8}, {float_4_4, 4, 4},
#endif
    {float_1_8, 1, 8}, {float_1_4, 1, 4},
};

static const sized_tile pair_tiles[] = {
#if LANES == 16
    {pairs_4_64, 4, 64}, {pairs_4_32, 4, 32}, {pairs_2_64, 2, 64}, {pairs_1_64, 1, 64},
#elif LANES == 8 || defined(__aarch64__)
    {pairs_2_32, 2, 32}, {pairs_1_64, 1, 64},
#endif
    {pairs_1_32, 1, 32},
};

static const sized_tile rest_tiles[] = {{narrow_bf16, 1, 4}};

#endif

/* Where in a panel of `width` bfloat16 weights output j stands. */
static size_t place_of_half(size_t j, size_t width) {
  const size_t group = j / 32 * 32;
  return group + 32 > width ? j : group + j % 16 * 2 + j % 32 / 16;
}

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
static float sum_of(const float *values, size_t n, int squares) {
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

/* The largest number; NaN if there is one. A zero is +0. */
static float max_of(const float *values, size_t n) {
  float found = values[0];
  for (size_t i = 1; i < n; i++) found = found >= values[i] || found != found ? found : values[i];
  return found + 0.0f;
}

/* The first of the largest numbers; NaN is no larger than any. */
static float arg_max(const float *values, size_t n) {
  size_t best = 0;
  for (size_t i = 1; i < n; i++)
    if (values[i] > values[best]) best = i;
  return (float)best;
}
#else
enum { VECTORS = SUM_LANES / LANES };
typedef int32_t mask_vector __attribute__((vector_size(4 * LANES)));

/* Numbers from place `i` on; behind the last of `n`, `filling`. ENDLESS: there are enough. */
#define ENDLESS ((size_t)-1)
static inline vector numbers_from(const float *values, size_t i, size_t n, float filling) {
  if (i + LANES <= n) return LOAD(values + i);
  vector found = ALL(filling);
  UNROLL for (size_t k = 0; k < LANES; k++)
    if (i + k < n) found[k] = values[i + k];
  return found;
}

static inline void add_lanes(vector *sums, const float *values, size_t i, size_t n, int squares) {
  UNROLL for (size_t v = 0; v < VECTORS; v++) {
    const vector value = numbers_from(values, i + v * LANES, n, 0);
    sums[v] = sums[v] + (squares ? value * value : value);
  }
}

static float sum_of(const float *values, size_t n, int squares) {
  vector sums[VECTORS] = {{0}};
  float lanes[LANES];
  size_t i = 0;
  for (; i + SUM_LANES <= n; i += SUM_LANES) add_lanes(sums, values, i, ENDLESS, squares);
  if (i < n) add_lanes(sums, values, i, n, squares); /* adding +0 changes no lane: none is -0 */
  UNROLL for (size_t half = VECTORS / 2; half; half /= 2)
    UNROLL for (size_t v = 0; v < half; v++) sums[v] = sums[v] + sums[v + half];
  STORE(lanes, sums[0]);
  UNROLL for (size_t half = LANES / 2; half; half /= 2)
    UNROLL for (size_t k = 0; k < half; k++) lanes[k] = lanes[k] + lanes[k + half];
  return lanes[0];
}

/* The larger numbers, where none is NaN. */
static inline vector larger(vector a, vector b) {
  const mask_vector first = a > b;
  return (vector)((first & (mask_vector)a) | (~first & (mask_vector)b));
}

/* The largest number; NaN if there is one. A zero is +0, whatever the order. */
static float max_of(const float *values, size_t n) {
  vector found[VECTORS];
  mask_vector nan = {0};
  float lanes[SUM_LANES];
  int32_t nans[LANES], any = 0;
  size_t i = 0;
  UNROLL for (size_t v = 0; v < VECTORS; v++) found[v] = ALL(values[0]);
  for (; i < n; i += SUM_LANES) {
    UNROLL for (size_t v = 0; v < VECTORS; v++) {
      const vector value = numbers_from(values, i + v * LANES, n, values[0]);
      found[v] = larger(found[v], value);
      nan |= value != value;
    }
  }
  UNROLL for (size_t v = 0; v < VECTORS; v++) STORE(lanes + v * LANES, found[v]);
  memcpy(nans, &nan, sizeof nans);
  UNROLL for (size_t k = 0; k < LANES; k++) any |= nans[k];
  for (size_t half = SUM_LANES / 2; half; half /= 2)
    for (size_t k = 0; k < half; k++) lanes[k] = lanes[k] > lanes[k + half] ? lanes[k] : lanes[k + half];
  return any ? widen(0x7FC0) : lanes[0] + 0.0f;
}

/* Take other numbers and their places in the lanes in which `more` says so. */
static inline void take(mask_vector more, vector *found, mask_vector *place, vector other, mask_vector at) {
  *found = (vector)((more & (mask_vector)other) | (~more & (mask_vector)*found));
  *place = (more & at) | (~more & *place);
}

/* Of 16 numbers from place `i` on, those that are larger than what was found; see numbers_from. */
static inline void take_larger(
    vector *found, mask_vector *place, const float *values, size_t i, size_t n, float filling) {
  mask_vector at;
  UNROLL for (int32_t k = 0; k < LANES; k++) at[k] = k;
  at += (int32_t)i;
  UNROLL for (size_t v = 0; v < VECTORS; v++, at += LANES) {
    const vector value = numbers_from(values, i + v * LANES, n, filling);
    take(value > found[v], &found[v], &place[v], value, at);
  }
}

/* The first of the largest numbers; NaN is no larger than any. */
static float arg_max(const float *values, size_t n) {
  vector found[VECTORS];
  mask_vector place[VECTORS] = {{0}};
  float lanes[LANES];
  int32_t places[LANES];
  size_t i = 0;
  UNROLL for (size_t v = 0; v < VECTORS; v++) found[v] = ALL(values[0]);
  for (; i + SUM_LANES <= n; i += SUM_LANES) take_larger(found, place, values, i, ENDLESS, values[0]);
  if (i < n) take_larger(found, place, values, i, n, values[0]);
  UNROLL for (size_t half = VECTORS / 2; half; half /= 2)
    UNROLL for (size_t v = 0; v < half; v++) {
      const vector other = found[v + half];
      const mask_vector before = (other == found[v]) & (place[v + half] < place[v]);
      take((other > found[v]) | before, &found[v], &place[v], other, place[v + half]);
    }
  STORE(lanes, found[0]);
  memcpy(places, place, sizeof places);
  UNROLL for (size_t half = LANES / 2; half; half /= 2)
    UNROLL for (size_t k = 0; k < half; k++) {
      const float other = lanes[k + half];
      const int better = (other > lanes[k]) | ((other == lanes[k]) & (places[k + half] < places[k]));
      lanes[k] = better ? other : lanes[k];
      places[k] = better ? places[k + half] : places[k];
    }
  return (float)places[0];
}
#endif

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
#if LANES > 1
  size_t rows;
#endif
} block;

#if (defined(__OPTIMIZE_SIZE__) || LANES == 1) && defined(__GNUC__)
#define SHARED __attribute__((noinline)) /* many call it */
#else
#define SHARED inline
#endif

/* Numbers of a row that lie between two rows at a place. */
static SHARED size_t stride_of(const block *now, int32_t place) {
  const aetool_plan *const plan = now->plan;
  const int32_t space = space_of(place);
  if (space == AETOOL_WORK) return (size_t)plan->n_work;
  if (space == AETOOL_INPUT) return (size_t)plan->n_input;
  if (space == AETOOL_CONSTANT) return 0;
  if (space == AETOOL_SECOND) return (size_t)plan->n_second;
  return (size_t)plan->output[space - AETOOL_OUTPUT];
}

/* Where the first row's numbers are; inputs and constants are read only. */
static SHARED float *find(const block *now, int32_t place) {
  const int32_t space = space_of(place), offset = place & PLACE_MASK;
  if (space == AETOOL_WORK) return now->work + offset;
  if (space == AETOOL_INPUT) return (float *)(uintptr_t)(now->input + offset);
  if (space == AETOOL_CONSTANT) return (float *)(uintptr_t)(now->plan->floats + offset);
  if (space == AETOOL_SECOND) return (float *)(uintptr_t)(now->second + offset);
  return now->outputs[space - AETOOL_OUTPUT] + now->done * stride_of(now, place) + offset;
}

/* A step, for all rows. Each is a function of its own, so that no stack holds what another one needs. */
typedef void operation(const block *now, const aetool_step *step);

#if LANES > 1
#define FIND(name) \
  float *name = find(now, step->name); \
  const size_t name##_stride = stride_of(now, step->name);
#define ROWS(...) for (size_t row = 0; row < now->rows; row++, __VA_ARGS__)
#else
#define FIND(name) float *const name = find(now, step->name);
#define ROWS(...)
#endif

#if LANES > 1
static void run_dense(const block *now, const aetool_step *step) {
  enum { TOGETHER = AETOOL_ROWS < 4 ? AETOOL_ROWS : 4 };
  const int halves = step->operation == AETOOL_DENSE_BF16;
  const size_t size = halves ? sizeof(uint16_t) : sizeof(float);
  const char *weights =
      halves ? (const char *)(now->plan->halves + step->offset) : (const char *)(now->plan->floats + step->offset);
  const size_t n = (size_t)step->n, m = (size_t)step->m, filled = (size_t)step->b;
  FIND(out)
  FIND(a)
  FIND(c)
  for (size_t first = 0; first < m; first += AETOOL_PANEL) {
    const size_t real = smaller(AETOOL_PANEL, m - first), width = smaller(AETOOL_PANEL, filled - first);
    const size_t pairs = halves ? width / 32 * 32 : 0;
    for (size_t row = 0, count; row < now->rows; row += count) {
      count = smaller(TOGETHER, now->rows - row >= 4 ? 4 : now->rows - row >= 2 ? 2 : 1);
      const sized_tile *use = halves ? pair_tiles : float_tiles;
      for (size_t j = 0; j < real; j += use->width) {
        if (halves && j == pairs) use = rest_tiles;
        while (use->width > (j < pairs ? pairs : width) - j || use->rows > count) use++;
        const char *const from = weights + (halves ? place_of_half(j, width) : j) * size;
        for (size_t r = row; r < row + count; r += use->rows) {
          const numbers x = {a + r * a_stride, a_stride};
          numbers begins = {c + r * c_stride + first + j, c_stride}, sums = {out + r * out_stride + first + j, out_stride};
          if (j + use->width <= real) {
            use->run(from, width, x, begins, sums, n);
          } else { /* some outputs fill the panel up */
            float room[TOGETHER * AETOOL_PANEL];
            const numbers whole = {room, use->width};
            const size_t kept = real - j;
            for (size_t k = 0; k < use->rows; k++)
              for (size_t i = 0; i < use->width; i++)
                room[k * use->width + i] = i < kept ? begins.at[k * c_stride + i] : 0;
            use->run(from, width, x, whole, whole, n);
            for (size_t k = 0; k < use->rows; k++)
              for (size_t i = 0; i < kept; i++) sums.at[k * out_stride + i] = room[k * use->width + i];
          }
        }
      }
    }
    weights += n * width * size;
  }
}
#define run_dense_bf16 run_dense
#else
/* Four outputs at once; those of bfloat16 lie `apart`. */
#define DENSE(name, type, from, read, place, distance) \
  static APART void name(const block *now, const aetool_step *step) { \
    const size_t n = (size_t)step->n; \
    FIND(out) \
    FIND(a) \
    FIND(c) \
    for (size_t j = 0; j < (size_t)step->m; j += 4) { \
      const size_t k = j % AETOOL_PANEL, left = (size_t)step->m - j, filled = (size_t)step->b - (j - k); \
      const size_t width = filled < AETOOL_PANEL ? filled : AETOOL_PANEL, apart = distance; \
      const type *w = now->plan->from + step->offset + n * (j - k) + place; \
      float sum_0 = c[j], sum_1 = left > 1 ? c[j + 1] : 0, sum_2 = left > 2 ? c[j + 2] : 0; \
      float sum_3 = left > 3 ? c[j + 3] : 0; \
      for (size_t i = 0; i < n; i++, w += width) { \
        const float number = a[i]; \
        sum_0 = sum_0 + number * read(w[0]); \
        sum_1 = sum_1 + number * read(w[apart]); \
        sum_2 = sum_2 + number * read(w[2 * apart]); \
        sum_3 = sum_3 + number * read(w[3 * apart]); \
      } \
      out[j] = sum_0; \
      if (left > 1) out[j + 1] = sum_1; \
      if (left > 2) out[j + 2] = sum_2; \
      if (left > 3) out[j + 3] = sum_3; \
    } \
  }
DENSE(run_dense, float, floats, , k, 1)
DENSE(run_dense_bf16, uint16_t, halves, widen, place_of_half(k, width), (k < width / 32 * 32 ? 2 : 1))
#endif

static APART void run_copy(const block *now, const aetool_step *step) {
  FIND(out)
  FIND(a)
  ROWS(out += out_stride, a += a_stride) memmove(out, a, (size_t)step->n * sizeof(float));
}

#define EACH(name, expression) \
  static APART void name(const block *now, const aetool_step *step) { \
    const size_t n = (size_t)step->n; \
    const float alpha = step->alpha; \
    FIND(out) \
    FIND(a) \
    (void)alpha; \
    ROWS(out += out_stride, a += a_stride) { \
      for (size_t i = 0; i < n; i++) { \
        const float x = a[i]; \
        out[i] = (expression); \
      } \
    } \
  }
EACH(run_leaky_relu, x < 0 ? alpha * x : x)
EACH(run_relu, x < 0 ? 0 : x)
EACH(run_elu, elu(x, alpha))
EACH(run_gelu, gelu(x))
EACH(run_silu, silu(x))
EACH(run_tanh, hyperbolic_tangent(x))
EACH(run_sigmoid, sigmoid(x))
EACH(run_abs, absolute(x))
EACH(run_negate, -x)
EACH(run_sqrt, square_root(x))
EACH(run_is_nan, x == x ? 0.0f : 1.0f)
EACH(run_not, x == 0 ? 1.0f : 0.0f)

#define PAIRS(name, expression) \
  static APART void name(const block *now, const aetool_step *step) { \
    const size_t n = (size_t)step->n; \
    FIND(out) \
    FIND(a) \
    FIND(b) \
    ROWS(out += out_stride, a += a_stride, b += b_stride) { \
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
    } \
  }
PAIRS(run_add, x + y)
PAIRS(run_subtract, x - y)
PAIRS(run_multiply, x * y)
PAIRS(run_divide, x / y)
PAIRS(run_equal, x == y ? 1.0f : 0.0f)
PAIRS(run_less_or_equal, x <= y ? 1.0f : 0.0f)

static APART void run_select(const block *now, const aetool_step *step) {
  FIND(out)
  FIND(a)
  FIND(b)
  FIND(c)
  ROWS(out += out_stride, a += a_stride, b += b_stride, c += c_stride) {
    for (size_t i = 0; i < (size_t)step->n; i++) out[i] = c[i] != 0 ? a[i] : b[i];
  }
}

static APART void run_gather(const block *now, const aetool_step *step) {
  const int32_t *const indexes = now->plan->indexes + step->offset;
  FIND(out)
  FIND(a)
  ROWS(out += out_stride, a += a_stride) {
    for (size_t i = 0; i < (size_t)step->n; i++) out[i] = a[indexes[i]];
  }
}

#define OVER(name, expression) \
  static APART void name(const block *now, const aetool_step *step) { \
    const size_t n = (size_t)step->n, m = (size_t)step->m; \
    FIND(out) \
    FIND(a) \
    ROWS(out += out_stride, a += a_stride) { \
      for (size_t i = 0; i < n; i++) out[i] = (expression); \
    } \
  }
OVER(run_sum, sum_of(a + i * m, m, step->operation == AETOOL_SUM_OF_SQUARES))
OVER(run_arg_max, arg_max(a + i * m, m))
OVER(run_max, max_of(a + i * m, m))

static APART void run_column(const block *now, const aetool_step *step) {
  const size_t n = (size_t)step->n, m = (size_t)step->m;
  FIND(out)
  FIND(a)
  ROWS(out += out_stride, a += a_stride) {
    const size_t j = a[0] > 0 && a[0] < (float)m ? (size_t)a[0] : 0, k = j % AETOOL_PANEL;
    const size_t filled = (size_t)step->b - (j - k), width = filled < AETOOL_PANEL ? filled : AETOOL_PANEL;
    const size_t from = (size_t)step->offset + (size_t)step->c * (j - k);
    if (step->operation == AETOOL_COLUMN) {
      const float *const w = now->plan->floats + from + k;
      for (size_t i = 0; i < n; i++) out[i] = step->alpha * w[i * width];
    } else {
      const uint16_t *const w = now->plan->halves + from + place_of_half(k, width);
      for (size_t i = 0; i < n; i++) out[i] = step->alpha * widen(w[i * width]);
    }
  }
}

#ifdef AETOOL_INTEGERS
static APART void run_quantize(const block *now, const aetool_step *step) {
  FIND(out)
  FIND(a)
  FIND(b)
  FIND(c)
  ROWS(out += out_stride, a += a_stride, b += b_stride, c += c_stride)
  aetool_quantize((int8_t *)out, a, b, c, (size_t)step->n);
}

static APART void run_dense_int8(const block *now, const aetool_step *step) {
  const size_t n = (size_t)step->n, m = (size_t)step->m;
  const int8_t *const bytes = now->plan->bytes;
  const int32_t *const indexes = now->plan->indexes + step->offset;
  aetool_requantisation how;
  memcpy(&how, indexes + 1, sizeof how);
  const int32_t *const bias = indexes + 1 + sizeof how / sizeof *indexes;
  FIND(out)
  FIND(a)
  ROWS(out += out_stride, a += a_stride)
  aetool_dense_int8((int8_t *)out, (const int8_t *)a, bytes + indexes[0], bias, bias + m, &how, bytes, n, m);
}

static APART void run_dense_int8_last(const block *now, const aetool_step *step) {
  const int32_t *const indexes = now->plan->indexes + step->offset;
  const int8_t *const weights = now->plan->bytes + indexes[0];
  FIND(out)
  FIND(a)
  FIND(b)
  FIND(c)
  ROWS(out += out_stride, a += a_stride, b += b_stride, c += c_stride)
  aetool_dense_int8_last(out, (const int8_t *)a, weights, indexes + 1, b, c, (size_t)step->n, (size_t)step->m);
}

static APART void run_dequantize(const block *now, const aetool_step *step) {
  FIND(out)
  FIND(a)
  ROWS(out += out_stride, a += a_stride)
  aetool_dequantize(out, (const int8_t *)a, step->m - 129, step->alpha, (size_t)step->n);
}
#endif

static operation *const operations[AETOOL_STEPS] = {
    [AETOOL_COPY] = run_copy,
    [AETOOL_DENSE] = run_dense,
    [AETOOL_DENSE_BF16] = run_dense_bf16,
    [AETOOL_LEAKY_RELU] = run_leaky_relu,
    [AETOOL_RELU] = run_relu,
    [AETOOL_ELU] = run_elu,
    [AETOOL_GELU] = run_gelu,
    [AETOOL_SILU] = run_silu,
    [AETOOL_TANH] = run_tanh,
    [AETOOL_SIGMOID] = run_sigmoid,
    [AETOOL_ABS] = run_abs,
    [AETOOL_NEGATE] = run_negate,
    [AETOOL_SQRT] = run_sqrt,
    [AETOOL_IS_NAN] = run_is_nan,
    [AETOOL_NOT] = run_not,
    [AETOOL_ADD] = run_add,
    [AETOOL_SUBTRACT] = run_subtract,
    [AETOOL_MULTIPLY] = run_multiply,
    [AETOOL_DIVIDE] = run_divide,
    [AETOOL_EQUAL] = run_equal,
    [AETOOL_LESS_OR_EQUAL] = run_less_or_equal,
    [AETOOL_SELECT] = run_select,
    [AETOOL_GATHER] = run_gather,
    [AETOOL_SUM] = run_sum,
    [AETOOL_SUM_OF_SQUARES] = run_sum,
    [AETOOL_ARG_MAX] = run_arg_max,
#ifdef AETOOL_INTEGERS
    [AETOOL_QUANTIZE] = run_quantize,
    [AETOOL_DENSE_INT8] = run_dense_int8,
    [AETOOL_DENSE_INT8_LAST] = run_dense_int8_last,
    [AETOOL_DEQUANTIZE] = run_dequantize,
#endif
    [AETOOL_MAX] = run_max,
    [AETOOL_COLUMN] = run_column,
    [AETOOL_COLUMN_BF16] = run_column,
};

/* Apart from the loop over the steps, so that its stack is gone when an operation runs. */
static APART void run_step(const block *now, const aetool_step *step) {
  const int32_t space = space_of(step->out);
  if (space >= AETOOL_OUTPUT && !now->outputs[space - AETOOL_OUTPUT]) return;
  operations[step->operation](now, step);
}

void aetool_run_with(const aetool_plan *plan, const float *input, const float *second, float *const *outputs,
                     size_t rows, float *work) {
  block now = {.plan = plan, .input = input, .second = second, .outputs = outputs, .work = work};
  while (now.done < rows) {
#if LANES > 1
    now.rows = smaller(AETOOL_ROWS, rows - now.done);
    const size_t count = now.rows;
#else
    const size_t count = 1;
#endif
    for (int32_t i = 0; i < plan->n_steps; i++) run_step(&now, plan->steps + i);
    now.done += count;
    now.input += count * (size_t)plan->n_input;
    if (second) now.second += count * (size_t)plan->n_second;
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

/* Whether the weights of `inputs` inputs and `m` outputs, filled up to `b`, are there. */
static int matrix_is_there(const aetool_plan *plan, const aetool_step *step, int64_t inputs) {
  const int is_float = step->operation == AETOOL_DENSE || step->operation == AETOOL_COLUMN;
  const int64_t there = is_float ? plan->n_floats : plan->n_halves, m = step->m, filled = step->b;
  if (filled % 4 || filled < m || (filled - 1) / AETOOL_PANEL != (m - 1) / AETOOL_PANEL) return 0;
  return inputs * filled <= there - step->offset;
}

static int dense_is_sound(const aetool_plan *plan, const aetool_step *step) {
  return matrix_is_there(plan, step, step->n) && holds(plan, step->out, step->m, 1) &&
         holds(plan, step->a, step->n, 0) && holds(plan, step->c, step->m, 0);
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
  } else if (operation == AETOOL_COLUMN || operation == AETOOL_COLUMN_BF16) {
    if (m >= 1 << 24) return 0; /* a float32 holds the whole numbers up to there */
    if (step->c < n || !matrix_is_there(plan, step, step->c)) return 0;
    read_a = 1;
  } else if (operation >= AETOOL_SUM) {
    read_a = n * m;
  }
  return holds(plan, step->out, n, 1) && holds(plan, step->a, read_a, 0) &&
         (!read_b || holds(plan, step->b, read_b, 0)) && (!read_c || holds(plan, step->c, read_c, 0));
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
