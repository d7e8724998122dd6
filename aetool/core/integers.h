/* Dense layers in integers: int8 weights and activations, int32 sums. aetool/core/integers.py specifies them. */
#ifndef AETOOL_INTEGERS_H
#define AETOOL_INTEGERS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How a layer's sums become the next one's int8. */
typedef struct {
  int32_t shift; /* of `multipliers`, 1 to 62 */
  int32_t zero; /* the integer that stands for 0.0 */
  int32_t bends; /* whether what is below 0 is multiplied by slope */
  int32_t slope, slope_shift;
  int32_t table; /* where in `bytes` 256 values begin, or -1 */
} aetool_requantisation;

/* out[n] = (a[n] - centre[n]) * gain[n], to the nearest from -127 to 127 */
void aetool_quantize(int8_t *out, const float *a, const float *centre, const float *gain, size_t n);

/* out[m] of bias[m] + sum over i < n of a[i] * weights[m][i] */
void aetool_dense_int8(int8_t *out, const int8_t *a, const int8_t *weights, const int32_t *bias,
    const int32_t *multipliers, const aetool_requantisation *how, const int8_t *bytes, size_t n, size_t m);

/* out[m] = begins[m] + scale[m] * (bias[m] + sum over i < n of a[i] * weights[m][i]) */
void aetool_dense_int8_last(float *out, const int8_t *a, const int8_t *weights, const int32_t *bias,
    const float *scale, const float *begins, size_t n, size_t m);

/* out[n] = (a[n] - zero) * scale */
void aetool_dequantize(float *out, const int8_t *a, int32_t zero, float scale, size_t n);

#ifdef __cplusplus
}
#endif
#endif
