
/* 3: the value is no number, which spoils every contribution; 2: the contribution overflows; 1: it is a number;
 * 0: another value spoiled it. */
static int {{name}}_weight(float found, float contribution, float expected, double *weight) {
    *weight = 0;
    if (!isfinite(found)) return 3;
    if (isnan(contribution)) return 0;
    if (isinf(contribution)) {
        double distance = fabs((double)found - (double)expected);
        if (distance <= DBL_MAX) *weight = distance;
        return 2;
    }
    *weight = (double)contribution;
    return 1;
}

void {{name}}_rank(const float features[{{width}}], const float contribution[{{width}}],
                   const float reconstruction[{{width}}], int32_t *positions, int32_t count) {
    int last_kind = 4;
    double last = 0;
    int32_t last_place = -1;
    for (int32_t n = 0; n < count && n < {{width}}; ++n) {
        int best_kind = -1;
        double best = 0;
        int32_t place = 0;
        for (int32_t i = 0; i < {{width}}; ++i) {
            double weight;
            int kind = {{name}}_weight(features[i], contribution[i], reconstruction[i], &weight);
            /* Not among those that are there already: they are before or equal in rank, and equal ones go by place. */
            bool after = kind < last_kind || (kind == last_kind && (weight < last || (weight == last && i > last_place)));
            if (after && (kind > best_kind || (kind == best_kind && weight > best))) {
                best_kind = kind;
                best = weight;
                place = i;
            }
        }
        positions[n] = place;
        last_kind = best_kind;
        last = best;
        last_place = place;
    }
}
