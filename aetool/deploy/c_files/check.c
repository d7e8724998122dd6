/* The bundle's golden rows through this build; exit code 1 if they do not come out as trained. */
#include <stdio.h>

#include "{{name}}.h"
#include "golden.h"

/* NAN where it is found and not expected: the caller tells. */
static double difference(const float *found, const float *expected, const float *scale, int count) {
    double worst = 0;
    for (int i = 0; i < count; ++i) {
        double apart = fabs((double)found[i] - (double)expected[i]);
        if (isfinite(expected[i]) ? apart == 0 : !isfinite(found[i])) continue;
        apart /= (double)scale[i];
        if (!(apart <= worst)) worst = apart;
    }
    return worst;
}

static double larger(double first, double second) {
    return second <= first ? first : second; /* NAN stays */
}

int main(void) {
    double worst = 0;
    int flipped = 0;
    for (int row = 0; row < GOLDEN_ROWS; ++row) {
{{calls}}    }
    bool passed = worst <= (double)GOLDEN_TOLERANCE && flipped == 0;
    printf("{{name}}: %d golden rows, largest difference %.1e of the range, %d decisions flipped: %s\n", GOLDEN_ROWS,
           worst, flipped, passed ? "passed" : "FAILED");
    return passed ? 0 : 1;
}
