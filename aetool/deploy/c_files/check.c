/* The bundle's golden rows, and rows with NaN and infinity, through this build; exit code 1 if they do not come out
 * as they must. */
#ifndef ARDUINO /* whose library this directory is: it would compile every file */
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

/* SHA-256 (FIPS 180-4) of all outputs, little endian, each NaN as 7fc00000: the same on every processor. */
static uint32_t digest[8] = {0x6a09e667u, 0xbb67ae85u, 0x3c6ef372u, 0xa54ff53au,
                             0x510e527fu, 0x9b05688cu, 0x1f83d9abu, 0x5be0cd19u};
static uint8_t block[64];
static uint32_t hashed; /* bytes */

static uint32_t rotated(uint32_t word, int by) {
    return word >> by | word << (32 - by);
}

static void hash_block(void) {
    static const uint32_t constants[64] = {
        0x428a2f98u, 0x71374491u, 0xb5c0fbcfu, 0xe9b5dba5u, 0x3956c25bu, 0x59f111f1u, 0x923f82a4u, 0xab1c5ed5u,
        0xd807aa98u, 0x12835b01u, 0x243185beu, 0x550c7dc3u, 0x72be5d74u, 0x80deb1feu, 0x9bdc06a7u, 0xc19bf174u,
        0xe49b69c1u, 0xefbe4786u, 0x0fc19dc6u, 0x240ca1ccu, 0x2de92c6fu, 0x4a7484aau, 0x5cb0a9dcu, 0x76f988dau,
        0x983e5152u, 0xa831c66du, 0xb00327c8u, 0xbf597fc7u, 0xc6e00bf3u, 0xd5a79147u, 0x06ca6351u, 0x14292967u,
        0x27b70a85u, 0x2e1b2138u, 0x4d2c6dfcu, 0x53380d13u, 0x650a7354u, 0x766a0abbu, 0x81c2c92eu, 0x92722c85u,
        0xa2bfe8a1u, 0xa81a664bu, 0xc24b8b70u, 0xc76c51a3u, 0xd192e819u, 0xd6990624u, 0xf40e3585u, 0x106aa070u,
        0x19a4c116u, 0x1e376c08u, 0x2748774cu, 0x34b0bcb5u, 0x391c0cb3u, 0x4ed8aa4au, 0x5b9cca4fu, 0x682e6ff3u,
        0x748f82eeu, 0x78a5636fu, 0x84c87814u, 0x8cc70208u, 0x90befffau, 0xa4506cebu, 0xbef9a3f7u, 0xc67178f2u};
    uint32_t word[64], state[8];
    for (int i = 0; i < 16; ++i) {
        const uint8_t *at = block + 4 * i;
        word[i] = (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
    }
    for (int i = 16; i < 64; ++i) {
        uint32_t a = word[i - 15], b = word[i - 2];
        word[i] = word[i - 16] + (rotated(a, 7) ^ rotated(a, 18) ^ a >> 3) + word[i - 7] +
                  (rotated(b, 17) ^ rotated(b, 19) ^ b >> 10);
    }
    memcpy(state, digest, sizeof state);
    for (int i = 0; i < 64; ++i) {
        uint32_t a = state[0], e = state[4];
        uint32_t first = state[7] + (rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25)) +
                         ((e & state[5]) ^ (~e & state[6])) + constants[i] + word[i];
        uint32_t second = (rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22)) +
                          ((a & state[1]) ^ (a & state[2]) ^ (state[1] & state[2]));
        memmove(state + 1, state, 7 * sizeof *state);
        state[4] += first;
        state[0] = first + second;
    }
    for (int i = 0; i < 8; ++i) digest[i] += state[i];
}

static void hash_byte(uint32_t byte) {
    block[hashed++ % 64] = (uint8_t)byte;
    if (hashed % 64 == 0) hash_block();
}

static void hash_number(uint32_t bits) {
    for (int i = 0; i < 4; ++i) hash_byte(bits >> 8 * i & 0xffu);
}

static void hash_floats(const float *values, int count) {
    for (int i = 0; i < count; ++i) {
        uint32_t bits;
        memcpy(&bits, values + i, sizeof bits);
        hash_number((bits & 0x7fffffffu) > 0x7f800000u ? 0x7fc00000u : bits);
    }
}

static void hash_end(void) {
    const uint32_t bits = 8 * hashed;
    hash_byte(0x80u);
    while (hashed % 64 != 60) hash_byte(0);
    for (int i = 3; i >= 0; --i) hash_byte(bits >> 8 * i & 0xffu);
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
    hash_end();
    printf("{{name}}: sha256 of all outputs ");
    for (int i = 0; i < 8; ++i) printf("%08lx", (unsigned long)digest[i]);
    printf("\n");
    printf("{{name}}: %d golden rows and %d with NaN or infinity, largest difference %.1e of the range, "
           "%d decisions flipped: %s\n", GOLDEN_ROWS, ODD_ROWS, worst, flipped, passed ? "passed" : "FAILED");
    return passed ? 0 : 1;
}
#endif
