/* The core: runs a plan, a short list of steps over float32 vectors, one row or a few at a time.
 *
 * C99, no allocation, no libm, no global state. docs/core.md specifies the arithmetic: every operation is rounded
 * to float32 in the stated order, so that any compiler and processor gives the same bits.
 */
#ifndef AETOOL_CORE_H
#define AETOOL_CORE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__)
#error "-ffast-math would call rows with NaN normal: compile without it"
#endif

/* Outputs in one panel of weights. */
#define AETOOL_PANEL 64
/* Rows that go through the steps together, at most: more share what is read of the weights, and take more memory. */
#ifndef AETOOL_ROWS
#define AETOOL_ROWS 8
#endif
/* Outputs of one plan, at most. */
#define AETOOL_OUTPUTS 8

/* A place of numbers: a space in the upper bits, an offset in the lower ones. */
#define AETOOL_PLACE_BITS 27
enum {
  AETOOL_WORK = 0,
  AETOOL_INPUT = 1,
  AETOOL_CONSTANT = 2,
  AETOOL_OUTPUT = 3, /* and the following */
  AETOOL_SECOND = AETOOL_OUTPUT + AETOOL_OUTPUTS /* a second input, which another engine computed */
};

typedef enum {
  /* out[n] = a[n] */
  AETOOL_COPY,
  /* out[m] = c[m] + sum over i < n of a[i] * w[i][m]; w: `floats` or `halves` from `offset`, in panels of 64
   * outputs, filled up to `b` outputs, a multiple of 4 */
  AETOOL_DENSE,
  AETOOL_DENSE_BF16,
  /* out[n] = f(a[n]) */
  AETOOL_LEAKY_RELU, /* slope `alpha` */
  AETOOL_RELU,
  AETOOL_ELU, /* `alpha` */
  AETOOL_GELU,
  AETOOL_SILU,
  AETOOL_TANH,
  AETOOL_SIGMOID,
  AETOOL_ABS,
  AETOOL_NEGATE,
  AETOOL_SQRT,
  AETOOL_IS_NAN,
  AETOOL_NOT,
  /* out[n] = f(a[n], b[n]); with m = 1 b is one number */
  AETOOL_ADD,
  AETOOL_SUBTRACT,
  AETOOL_MULTIPLY,
  AETOOL_DIVIDE,
  AETOOL_EQUAL,
  AETOOL_LESS_OR_EQUAL,
  /* out[n] = c[n] ? a[n] : b[n] */
  AETOOL_SELECT,
  /* out[n] = a[indexes[offset + n]], of m numbers */
  AETOOL_GATHER,
  /* out[n] = over m numbers each of a[n * m] */
  AETOOL_SUM,
  AETOOL_SUM_OF_SQUARES,
  AETOOL_ARG_MAX,
  /* Layers in integers, see integers.h; compiled in with AETOOL_INTEGERS alone. int8 lie four in a float's place.
   * `indexes` from `offset`: where in `bytes` the weights begin, for DENSE_INT8 an aetool_requantisation, then the
   * bias, and for DENSE_INT8 the multipliers. */
  AETOOL_QUANTIZE, /* out[n] of a[n], b[n], which is the centre, and c[n], which is the gain */
  AETOOL_DENSE_INT8, /* out[m] of a[n] */
  AETOOL_DENSE_INT8_LAST, /* out[m] of a[n], b[m], which is the scale, and c[m], which it begins with */
  AETOOL_DEQUANTIZE, /* out[n] of a[n]; m - 129 stands for 0.0, alpha for one step */
  /* out[n] = the largest of m numbers each of a[n * m] */
  AETOOL_MAX,
  /* out[n] = alpha * w[n][k], where k is a[0], of the weights of a dense layer with `c` inputs and `m` outputs, filled
   * up to `b`; output 0 if there is no output k */
  AETOOL_COLUMN,
  AETOOL_COLUMN_BF16,
  AETOOL_STEPS
} aetool_operation;

typedef struct {
  int32_t operation; /* an aetool_operation */
  int32_t out, a, b, c; /* places */
  int32_t n, m;
  int32_t offset;
  float alpha;
} aetool_step;

typedef struct {
  const aetool_step *steps;
  const float *floats; /* weights of float32 and other constants */
  const uint16_t *halves; /* weights of bfloat16 */
  const int32_t *indexes;
  const int8_t *bytes; /* weights of integer layers, and tables */
  int32_t n_steps, n_floats, n_halves, n_indexes;
  int32_t n_input; /* numbers in a row */
  int32_t n_outputs;
  int32_t output[AETOOL_OUTPUTS]; /* numbers of a row in each output */
  int32_t n_work; /* floats of working memory for one row */
  int32_t n_second; /* numbers in a row of the second input; 0 for none */
} aetool_plan;

/* Return 0 if running the plan touches nothing outside its buffers, or the number of the first wrong step, from 1;
 * -1 for what is wrong outside the steps. */
int32_t aetool_check(const aetool_plan *plan);

/* Compute `rows` rows of `n_input` numbers into `outputs`: an array of rows * output[k] for each k; NULL for an
 * output that is not wanted and that no step reads.
 *
 * `work`: n_work floats for each of the rows, AETOOL_ROWS at most. `second`: rows * n_second numbers; NULL for a
 * plan without. The plan was checked.
 */
void aetool_run_with(const aetool_plan *plan, const float *input, const float *second, float *const *outputs,
                     size_t rows, float *work);

static inline void aetool_run(
    const aetool_plan *plan, const float *input, float *const *outputs, size_t rows, float *work) {
  aetool_run_with(plan, input, NULL, outputs, rows, work);
}

#ifdef __cplusplus
}
#endif
#endif
