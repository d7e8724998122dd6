/* Start of a program on an Arm MPS2 board (Cortex-M4F: mps2-an386, Cortex-M7: mps2-an500), as QEMU emulates them:
 * what a reset does before main, and what main's printf and exit need, by semihosting. */
#include <stdint.h>

extern uint32_t stack_top, data_start, data_end, data_source, bss_start, bss_end;
extern int main(void);
extern void initialise_monitor_handles(void);
extern void exit(int) __attribute__((noreturn));

/* A fault ends the program rather than hang it. */
static void fault(void) {
#ifdef BARE
    while (1) continue;
#else
    exit(99);
#endif
}

void reset(void) {
    *(volatile uint32_t *)0xE000ED88 |= 0xFu << 20; /* the floating-point unit, for code of any privilege */
    __asm volatile("dsb\n isb");
    for (uint32_t *to = &data_start, *from = &data_source; to < &data_end;) *to++ = *from++;
    for (uint32_t *to = &bss_start; to < &bss_end;) *to++ = 0;
#ifdef BARE
    main();
    while (1) continue;
#else
    initialise_monitor_handles();
    exit(main());
#endif
}

__attribute__((section(".vectors"), used)) static void *const vectors[16] = {
    &stack_top, (void *)reset, (void *)fault, (void *)fault, (void *)fault, (void *)fault, (void *)fault};
