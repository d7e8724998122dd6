/* The core as WebAssembly, without any library: JavaScript lays out plans and rows in its memory. */
#include "../core.h"

/* core.mjs writes plans as they lie in memory. */
typedef char plan_has_76_bytes_before_its_work[offsetof(aetool_plan, n_work) == 76 ? 1 : -1];

extern unsigned char __heap_base;

#define EXPORTED(name) __attribute__((export_name(#name))) name

uint32_t EXPORTED(heap)(void) { return ((uint32_t)(uintptr_t)&__heap_base + 63) / 64 * 64; }

int32_t EXPORTED(check)(const aetool_plan *plan) { return aetool_check(plan); }

void EXPORTED(run)(const aetool_plan *plan, const float *input, float *const *outputs, uint32_t rows, float *work) {
  aetool_run(plan, input, outputs, rows, work);
}
