/* Largest errors of the core's functions against float64, in units in the last place (ulp) of the exact result.
 *
 * Usage: PROGRAM STEP [NAME]: every STEPth of all 2**32 bit patterns of float32, 1 for all of them; of one function.
 * Prints a line for each function: its name, the largest error, and where. Compiled with -I aetool/core -lm.
 */
#include "core.c"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static double exact_sigmoid(double x) { return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x)); }
static double exact_silu(double x) { return x * exact_sigmoid(x); }
static double exact_elu(double x) { return x < 0 ? expm1(x) : x; }
static double exact_gelu(double x) { return x * 0.5 * erfc(-x * 0.70710678118654752440); }

static float elu_of_1(float x) { return elu(x, 1.0f); }

typedef struct {
  const char *name;
  float (*found)(float);
  double (*exact)(double);
} function;

static const function functions[] = {
    {"sigmoid", sigmoid, exact_sigmoid},  {"silu", silu, exact_silu},
    {"tanh", hyperbolic_tangent, tanh},   {"elu", elu_of_1, exact_elu},
    {"gelu", gelu, exact_gelu},           {"sqrt", square_root, sqrt},
};

static double unit(double exact) {
  int exponent;
  frexp(exact, &exponent);
  return ldexp(1, exact == 0 || exponent < -125 ? -149 : exponent - 24);
}

int main(int count, char **words) {
  const uint64_t step = count > 1 ? strtoull(words[1], NULL, 10) : 1;
  for (size_t k = 0; k < sizeof functions / sizeof *functions; k++) {
    const function *const now = functions + k;
    if (count > 2 && strcmp(words[2], now->name)) continue;
    double worst = 0;
    float where = 0;
    for (uint64_t pattern = 0; pattern < (uint64_t)1 << 32; pattern += step) {
      const uint32_t bits = (uint32_t)pattern;
      float x;
      memcpy(&x, &bits, sizeof x);
      const double found = (double)now->found(x), exact = now->exact((double)x);
      double error = fabs(found - exact) / unit(exact);
      if (isnan(x) || isinf(x) || isnan(exact)) error = isnan(exact) ? (isnan(found) ? 0 : INFINITY) : found == exact ? 0 : INFINITY;
      if (!(error <= worst)) worst = error, where = x;
    }
    printf("%s %.3f %.9g\n", now->name, worst, (double)where);
    fflush(stdout);
  }
  return 0;
}
