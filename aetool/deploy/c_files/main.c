{{about}}
#ifndef ARDUINO /* whose library this directory is: it would compile every file */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "{{name}}.h"

enum { WIDTH = {{width}}, LINE = 64 * WIDTH + 64 };

static const char *after_blanks(const char *text) {
    while (isspace((unsigned char)*text)) ++text;
    return text;
}

/* How many numbers the line holds, of which `row` keeps the first WIDTH; -1 if it holds anything else. */
static int read_row(const char *text, {{type}} row[WIDTH]) {
    int count = 0;
    for (text = after_blanks(text); *text != '\0'; ++count) {
        char *end;
        {{type}} value = {{read}}(text, &end);
        if (end == text) return -1;
        if (count < WIDTH) row[count] = value;
        text = after_blanks(end);
        if (*text == ',') {
            text = after_blanks(text + 1);
            if (*text == '\0') return -1; /* nothing stands after the last separator */
        } else if (text == end && *text != '\0') {
            return -1;
        }
    }
    return count;
}

int main(void) {
    static char line[LINE];
    static {{type}} row[WIDTH];
{{variables}}    for (long number = 1; fgets(line, sizeof line, stdin) != NULL; ++number) {
        int count = read_row(line, row);
        if (count == 0) continue; /* an empty line */
        if (count != WIDTH) {
            fprintf(stderr, "line %ld: %d numbers expected, ", number, WIDTH);
            if (count < 0) fprintf(stderr, "found something else\n");
            else fprintf(stderr, "found %d\n", count);
            return 1;
        }
{{use}}    }
    return 0;
}
#endif
