/* What core.c needs of string.h: WebAssembly has instructions for both. */
#ifndef AETOOL_STRING_H
#define AETOOL_STRING_H

#include <stddef.h>

#define memcpy __builtin_memcpy
#define memmove __builtin_memmove

#endif
