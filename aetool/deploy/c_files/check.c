/* The bundle's golden rows, and rows with NaN and infinity, through this build; exit code 1 if they do not come out
 * as they must. */
#include <stdio.h>
#include <string.h>

{{guard}}
#include "{{name}}.h"
#include "{{name}}_golden.h"

/* By its bits: a compiler that assumes finite numbers cannot make it true. */
static bool is_finite(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return (bits & 0x7f800000u) != 0x7f800000u;
}

/* Infinite where NaN or infinity is expected or found, and not both. */
static double difference(const float *found, const float *expected, const float *scale, int count) {
    double worst = 0;
    for (int i = 0; i < count; ++i) {
        if (is_finite(found[i]) != is_finite(expected[i])) return HUGE_VAL;
        if (!is_finite(expected[i]) || found[i] == expected[i]) continue;
        double apart = fabs((double)found[i] - (double)expected[i]) / (double)scale[i];
        if (!(apart <= worst)) worst = apart;
    }
    return worst;
}

static double larger(double first, double second) {
    return second <= first ? first : second;
}

int main(void) {
    double worst = 0;
    int flipped = 0;
    for (int i = 0; i < GOLDEN_ROWS + ODD_ROWS; ++i) {
        bool odd = i >= GOLDEN_ROWS;
        int row = odd ? i - GOLDEN_ROWS : i;
{{calls}}    }
    bool passed = worst <= (double)GOLDEN_TOLERANCE && flipped == 0;
    printf("{{name}}: %d golden rows and %d with NaN or infinity, largest difference %.1e of the range, "
           "%d decisions flipped: %s\n", GOLDEN_ROWS, ODD_ROWS, worst, flipped, passed ? "passed" : "FAILED");
    return passed ? 0 : 1;
}
