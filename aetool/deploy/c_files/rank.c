
/* Which features come first: 2, values that are no finite number, where they spoil their contribution; 1, contributions
 * that overflow, the farthest from what is usual first; 0, the others, the largest contribution first. */
static int {{name}}_kind(float found, float contribution, float expected, double *weight) {
    *weight = (double)contribution;
    if (isfinite(contribution)) return 0;
    *weight = fmin(fabs((double)found), fabs((double)found - (double)expected));
    if (isfinite(found)) return 1;
    *weight = 0;
    return 2;
}

void {{name}}_rank(const float features[{{width}}], const float contribution[{{width}}],
                   const float reconstruction[{{width}}], int32_t *positions, int32_t count) {
    int last_kind = 3;
    double last = 0;
    int32_t last_place = -1;
    for (int32_t n = 0; n < count && n < {{width}}; ++n) {
        int best_kind = -1;
        double best = 0;
        int32_t place = 0;
        for (int32_t i = 0; i < {{width}}; ++i) {
            double weight;
            int kind = {{name}}_kind(features[i], contribution[i], reconstruction[i], &weight);
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
