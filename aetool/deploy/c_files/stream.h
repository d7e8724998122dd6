
/* A stream of samples of one source, {{channels}} channels each: all its memory is this struct, which may be copied, saved and loaded. */
enum { {{macro}}_WINDOW = {{window}}, {{macro}}_CHANNELS = {{channels}}, {{macro}}_STRIDE = {{stride}} };
typedef struct {
    float samples[{{width}}]; /* the window at hand, in one piece */
    int32_t filled; /* samples of it; a full one has been scored */
    int32_t skip; /* samples to leave out before the next one */
} {{name}}_stream;

{{gap}}static inline void {{name}}_stream_reset({{name}}_stream *stream) {
    stream->filled = stream->skip = 0;
}
/* Add a sample. If it completes a window, its score goes to *score and the result is true; until the next push the
 * window is stream->samples. */
bool {{name}}_stream_push({{name}}_stream *stream, const float sample[{{channels}}], float *score);
