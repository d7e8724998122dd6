/* What one row needs on a board: stack, painted before and looked at afterwards, and instructions as QEMU counts
 * them under -icount shift=0, where each takes a nanosecond of the board's clock. With BARE, the smallest program that
 * scores a row: its sections are what the model needs. MODEL, GOLDEN, DETECT and WIDTH come from the command line. */
#include <stdio.h>
#include <string.h>

#include MODEL

static float row[WIDTH], score[1];
static bool is_anomaly[1];

static void __attribute__((noinline)) one_row(void) {
    DETECT(row, score, is_anomaly);
}

#ifdef BARE

int main(void) {
    one_row();
    return is_anomaly[0];
}

#else

#include GOLDEN

enum { PAINTED = 32768, NEAR = 64, PAINT = 0xA5, CALLS = 20, NANOSECONDS = 40 /* in a tick of 25 MHz */ };

/* Control, reload and current value of the processor's own timer. */
static volatile uint32_t *const timer = (volatile uint32_t *)0xE000E010;

/* How far below this frame `one_row` touches the stack. */
static size_t __attribute__((noinline)) stack_of(void) {
    volatile uint8_t *const here = __builtin_frame_address(0);
    for (size_t i = NEAR; i < PAINTED; ++i) *(here - i) = PAINT;
    one_row();
    size_t deepest = PAINTED - 1;
    while (deepest > NEAR && *(here - deepest) == PAINT) --deepest;
    return deepest;
}

int main(void) {
    memcpy(row, golden_features, sizeof row);
    size_t stack = stack_of();
    timer[1] = 0xffffffu;
    timer[2] = 0;
    timer[0] = 5; /* on, by the processor's clock */
    uint32_t begin = timer[2];
    for (int i = 0; i < CALLS; ++i) one_row();
    uint32_t ticks = (begin - timer[2]) & 0xffffffu;
    printf("stack %lu instructions %lu\n", (unsigned long)stack, (unsigned long)(ticks * NANOSECONDS / CALLS));
    return 0;
}

#endif
