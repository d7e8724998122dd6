/* The core as WebAssembly, without any library: JavaScript lays out plans and rows in its memory. */
#include "../core.h"

#include <string.h>

/* core.mjs writes plans as they lie in memory. */
typedef char plan_has_76_bytes_before_its_work[offsetof(aetool_plan, n_work) == 76 ? 1 : -1];

extern unsigned char __heap_base;

#define EXPORTED(name) __attribute__((export_name(#name))) name

uint32_t EXPORTED(heap)(void) { return ((uint32_t)(uintptr_t)&__heap_base + 63) / 64 * 64; }

int32_t EXPORTED(check)(const aetool_plan *plan) { return aetool_check(plan); }

void EXPORTED(run)(const aetool_plan *plan, const float *input, float *const *outputs, uint32_t rows, float *work) {
  aetool_run(plan, input, outputs, rows, work);
}

/* Puts together numbers of `width` bytes, of which all first bytes came first, then all second ones, and so on. */
void EXPORTED(unshuffle)(const uint8_t *from, uint8_t *to, uint32_t count, uint32_t width) {
  for (uint32_t k = 0; k < width; k++)
    for (uint32_t i = 0; i < count; i++) to[i * width + k] = *from++;
}

/* Differences of 0, -1, 1 and -2 are kept as 0, 1, 2 and 3. */
static uint32_t moved(uint32_t from, uint32_t kept) { return from + (kept >> 1 ^ (0u - (kept & 1))); }

static uint32_t scaled(uint32_t bits, float factor) {
  float number;
  memcpy(&number, &bits, sizeof number);
  number *= factor;
  memcpy(&bits, &number, sizeof bits);
  return bits;
}

/* Puts a matrix of n x m weights in panels in the place of its differences from another, each output times a factor. */
void EXPORTED(restore)(uint32_t *at, const uint32_t *of, const float *factors, uint32_t n, uint32_t m) {
  for (uint32_t panel = 0; panel < m; panel += AETOOL_PANEL) {
    const uint32_t width = m - panel < AETOOL_PANEL ? m - panel : AETOOL_PANEL;
    for (uint32_t i = 0; i < n * width; i++, at++) *at = moved(scaled(*of++, factors[panel + i % width]), *at);
  }
}

/* The same in bfloat16, to the nearest, ties to even. */
void EXPORTED(restore_half)(uint16_t *at, const uint16_t *of, const float *factors, uint32_t n, uint32_t m) {
  for (uint32_t panel = 0; panel < m; panel += AETOOL_PANEL) {
    const uint32_t width = m - panel < AETOOL_PANEL ? m - panel : AETOOL_PANEL;
    for (uint32_t i = 0; i < n * width; i++, at++) {
      const uint32_t bits = scaled((uint32_t)*of++ << 16, factors[panel + i % width]);
      *at = (uint16_t)moved((bits + 0x7fff + (bits >> 16 & 1)) >> 16, *at);
    }
  }
}
