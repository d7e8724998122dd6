{{guard}}
#include "{{name}}.h"

enum { NUMBERS = {{macro}}_WINDOW * {{macro}}_CHANNELS, SHIFT = {{macro}}_STRIDE * {{macro}}_CHANNELS };

bool {{name}}_stream_push({{name}}_stream *stream, const float sample[{{channels}}], float *score) {
    if (stream->filled == {{macro}}_WINDOW) { /* it was scored: make room for the next one */
        if ({{macro}}_STRIDE < {{macro}}_WINDOW) {
            for (int32_t i = 0; i < NUMBERS - SHIFT; ++i) stream->samples[i] = stream->samples[i + SHIFT];
            stream->filled = {{macro}}_WINDOW - {{macro}}_STRIDE;
        } else {
            stream->filled = 0;
            stream->skip = {{macro}}_STRIDE - {{macro}}_WINDOW;
        }
    }
    if (stream->skip > 0) {
        --stream->skip;
        return false;
    }
    float *const to = stream->samples + stream->filled * {{macro}}_CHANNELS;
    for (int32_t i = 0; i < {{macro}}_CHANNELS; ++i) to[i] = sample[i];
    if (++stream->filled < {{macro}}_WINDOW) return false;
    *score = {{name}}_score(stream->samples);
    return true;
}
