/* Random plans for the core: each is refused by aetool_check, or runs on buffers of exactly the size that it states.
 *
 * Usage: PROGRAM SEED PLANS. Compiled with -I aetool/core and sanitizers, which stop it at the first access outside
 * a buffer and at the first undefined behaviour. Prints how many plans ran and how many were refused.
 */
#include "core.c"

#include <stdio.h>
#include <stdlib.h>

static uint64_t state;

static uint32_t next(void) {
  state ^= state << 13, state ^= state >> 7, state ^= state << 17;
  return (uint32_t)(state >> 16);
}

/* A number from `least` to `most`, often one of the two. */
static int32_t between(int32_t least, int32_t most) {
  if (most < least) return least;
  if (next() % 6 == 0) return least;
  if (next() % 5 == 0) return most;
  return least + (int32_t)(next() % (uint32_t)(most - least + 1));
}

static int32_t odd_number(void) {
  static const int32_t odd[] = {-1, 0, 1, 2, 3, 4, 63, 64, 65, INT32_MAX, INT32_MIN, INT32_MAX - 3, 1 << 27,
                                (1 << 27) - 1, 3 << 27, 11 << 27, 15 << 27, 1 << 30, 46341, 65536};
  return next() % 3 ? odd[next() % (sizeof odd / sizeof *odd)] : (int32_t)next();
}

static float any_float(void) {
  const uint32_t bits = next() % 4 ? 0x3F000000u + next() % 0x1000000u : next();
  float number;
  memcpy(&number, &bits, sizeof number);
  return number;
}

/* A place of `count` numbers that are there, if any are. */
static int32_t place(const aetool_plan *plan, int32_t count, int written) {
  int32_t space = written ? (next() % 2 ? AETOOL_WORK : AETOOL_OUTPUT + (int32_t)(next() % (uint32_t)plan->n_outputs))
                  : next() % 6 == 0 ? AETOOL_SECOND
                                    : (int32_t)(next() % 3);
  const int32_t there = space == AETOOL_WORK       ? plan->n_work
                        : space == AETOOL_INPUT    ? plan->n_input
                        : space == AETOOL_CONSTANT ? plan->n_floats
                        : space == AETOOL_SECOND   ? plan->n_second
                                                   : plan->output[space - AETOOL_OUTPUT];
  return (int32_t)((uint32_t)space << AETOOL_PLACE_BITS) | between(0, there - count);
}

static aetool_step random_step(const aetool_plan *plan) {
  aetool_step step;
  memset(&step, 0, sizeof step);
  step.operation = (int32_t)(next() % AETOOL_STEPS);
  const int32_t size = between(1, next() % 4 ? 20 : 140);
  step.n = step.m = size;
  step.alpha = any_float();
  int32_t wide_a = size, wide_out = size;
  if (step.operation == AETOOL_DENSE || step.operation == AETOOL_DENSE_BF16) {
    const int32_t there = step.operation == AETOOL_DENSE ? plan->n_floats : plan->n_halves;
    step.n = between(1, 20);
    step.b = step.m + (4 - step.m % 4) % 4 + 4 * (int32_t)(next() % 4);
    step.offset = between(0, there - step.n * step.b);
    step.c = place(plan, step.m, 0);
    wide_a = step.n;
  } else if (step.operation == AETOOL_GATHER) {
    step.m = between(1, 60);
    step.offset = between(0, plan->n_indexes - step.n);
    wide_a = step.m;
  } else if (step.operation == AETOOL_COLUMN || step.operation == AETOOL_COLUMN_BF16) {
    const int32_t there = step.operation == AETOOL_COLUMN ? plan->n_floats : plan->n_halves;
    step.n = between(1, 20), step.c = step.n + between(0, 5);
    step.b = step.m + (4 - step.m % 4) % 4 + 4 * (int32_t)(next() % 4);
    step.offset = between(0, there - step.c * step.b);
    wide_a = 1, wide_out = step.n;
  } else if (step.operation >= AETOOL_SUM) {
    step.n = between(1, 6), step.m = between(1, 40);
    wide_a = step.n * step.m, wide_out = step.n;
  } else if (next() % 2) {
    step.m = 1;
  }
  step.out = place(plan, wide_out, 1);
  step.a = place(plan, wide_a, 0);
  if (step.operation >= AETOOL_ADD && step.operation <= AETOOL_SELECT) {
    step.b = place(plan, step.operation == AETOOL_SELECT ? step.n : step.m, 0);
    step.c = place(plan, step.n, 0);
  }
  if (next() % 40 == 0) {
    int32_t *const fields[] = {&step.operation, &step.out, &step.a, &step.b, &step.c, &step.n, &step.m, &step.offset};
    int32_t *const field = fields[next() % 8];
    *field = next() % 2 ? odd_number() : (int32_t)((uint32_t)*field + (next() % 2 ? 1u : UINT32_MAX));
  }
  return step;
}

static void *exactly(size_t count, size_t size) {
  void *const found = malloc(count * size);
  if (!found) abort();
  return found;
}

/* Return 1 if the plan ran, 0 if it was refused. */
static int one_plan(void) {
  aetool_plan plan;
  memset(&plan, 0, sizeof plan);
  plan.n_steps = between(1, 12), plan.n_input = between(1, 150), plan.n_outputs = between(1, AETOOL_OUTPUTS);
  plan.n_floats = between(0, 4000), plan.n_halves = between(0, 4000), plan.n_indexes = between(0, 200);
  plan.n_work = between(0, 400), plan.n_second = between(0, 60);
  for (int32_t k = 0; k < plan.n_outputs; k++) plan.output[k] = between(1, 150);
  float *const floats = exactly((size_t)plan.n_floats, sizeof(float));
  uint16_t *const halves = exactly((size_t)plan.n_halves, sizeof(uint16_t));
  int32_t *const indexes = exactly((size_t)plan.n_indexes, sizeof(int32_t));
  aetool_step *const steps = exactly((size_t)plan.n_steps, sizeof(aetool_step));
  for (int32_t i = 0; i < plan.n_floats; i++) floats[i] = any_float();
  for (int32_t i = 0; i < plan.n_halves; i++) halves[i] = (uint16_t)next();
  const int32_t most = between(1, 60);
  for (int32_t i = 0; i < plan.n_indexes; i++) indexes[i] = next() % 500 ? (int32_t)next() % most : odd_number();
  for (int32_t i = 0; i < plan.n_indexes; i++)
    if (indexes[i] < 0 && next() % 200) indexes[i] = 0;
  plan.floats = floats, plan.halves = halves, plan.indexes = indexes, plan.steps = steps;
  for (int32_t i = 0; i < plan.n_steps; i++) steps[i] = random_step(&plan);
  int32_t *const sizes[] = {&plan.n_input, &plan.n_outputs, &plan.n_work, plan.output, &plan.n_second};
  if (next() % 50 == 0) *sizes[next() % 5] = -between(0, 3);

  /* The plan as far as it is sound: most have one step that is not. */
  int32_t wrong;
  while ((wrong = aetool_check(&plan)) > 0 && next() % 8) {
    plan.n_steps--;
    for (int32_t i = wrong - 1; i < plan.n_steps; i++) steps[i] = steps[i + 1];
  }
  if (wrong == 0) {
    const size_t rows = (size_t)between(1, 19), together = rows < AETOOL_ROWS ? rows : AETOOL_ROWS;
    float *outputs[AETOOL_OUTPUTS] = {NULL};
    float *const input = exactly(rows * (size_t)plan.n_input, sizeof(float));
    float *const work = exactly(together * (size_t)plan.n_work, sizeof(float));
    for (size_t i = 0; i < rows * (size_t)plan.n_input; i++) input[i] = any_float();
    for (size_t i = 0; i < together * (size_t)plan.n_work; i++) work[i] = any_float();
    for (int32_t k = 0; k < plan.n_outputs; k++)
      if (next() % 4) outputs[k] = exactly(rows * (size_t)plan.output[k], sizeof(float));
    float *const second = plan.n_second ? exactly(rows * (size_t)plan.n_second, sizeof(float)) : NULL;
    for (size_t i = 0; i < rows * (size_t)plan.n_second; i++) second[i] = any_float();
    aetool_run_with(&plan, input, second, outputs, rows, work);
    free(second);
    for (int32_t k = 0; k < plan.n_outputs; k++) free(outputs[k]);
    free(input), free(work);
  }
  free(floats), free(halves), free(indexes), free(steps);
  return wrong == 0;
}

int main(int count, char **words) {
  const uint64_t seed = count > 1 ? strtoull(words[1], NULL, 10) : 1;
  const unsigned long plans = count > 2 ? strtoul(words[2], NULL, 10) : 1000;
  unsigned long ran = 0;
  state = seed * 0x9E3779B97F4A7C15u + 1;
  for (unsigned long i = 0; i < plans; i++) ran += (unsigned long)one_plan();
  printf("%lu ran, %lu refused\n", ran, plans - ran);
  return 0;
}
