{{guard}}
#include "{{name}}.h"

#include <float.h>
#include <math.h>

#define {{macro}}_SCORES {{count}}

/* Of normal rows, ascending. */
static const float {{name}}_scores[{{macro}}_SCORES] = {
{{scores}}};

float {{name}}_p_value(float score) {
    float known = score < FLT_MAX ? score : FLT_MAX; /* so is what is not a number */
    int below = 0, end = {{macro}}_SCORES;
    while (below < end) {
        int middle = (below + end) / 2;
        if ({{name}}_scores[middle] < known) {
            below = middle + 1;
        } else {
            end = middle;
        }
    }
    float p = (float)({{macro}}_SCORES + 1 - below) / (float)({{macro}}_SCORES + 1);
    float excess = known - {{name}}_scores[{{macro}}_SCORES - 1];
    if (excess > 0.0f) p *= expf(logf(fmaxf(1.0f + excess * {{rate}}, FLT_MIN)) * {{power}});
    return fmaxf(p, FLT_MIN);
}
