/*
 * The autoencoder {{title}}, bundle {{id}}.
 *
 * One row per call, in raw units; a missing value is NAN. Nothing is allocated and nothing is kept between calls:
 * threads may share it.
 *
 * A row, in order:
{{features}} */
#ifndef {{macro}}_H
#define {{macro}}_H

#include <stdbool.h>
#include <stdint.h>

/* A row is an anomaly unless its score is at most this: !(score <= threshold), which holds for NAN too. */
#define {{macro}}_THRESHOLD {{threshold}}

#ifdef __cplusplus
extern "C" {
#endif

{{functions}}
#ifdef __cplusplus
}
#endif
#endif
