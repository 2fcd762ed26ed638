/* SPDX-License-Identifier: Apache-2.0
 * Products against repeated addition: of all small factors, and of large ones of both signs. */
#include <stdint.h>

static uint32_t next_random(uint32_t *state) { /* xorshift: no product in it */
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static uint64_t product_by_shifts(uint64_t a, uint64_t b) {
    uint64_t sum = 0;
    for (; b != 0; b >>= 1, a <<= 1) {
        sum += (b & 1) != 0 ? a : 0;
    }
    return sum;
}

static int wide_differs(uint64_t a, uint64_t b) {
    volatile uint64_t x = a;
    volatile uint64_t y = b;
    return x * y != product_by_shifts(a, b);
}

static int differs(uint32_t a, uint32_t b, uint32_t expected) {
    volatile uint32_t x = a;
    volatile uint32_t y = b;
    return x * y != expected;
}

int main(void) {
    uint32_t state = 1;
    for (int32_t a = -520; a <= 520; a++) {
        uint32_t expected = 0;
        for (int32_t b = 0; b <= 520; b++) {
            if (differs((uint32_t)a, (uint32_t)b, expected) ||
                differs((uint32_t)a, (uint32_t)-b, 0 - expected)) {
                return 1;
            }
            expected += (uint32_t)a;
        }
    }
    for (uint32_t i = 0; i < 20000; i++) {
        const uint32_t a = next_random(&state);
        const uint32_t b = next_random(&state) >> (i & 31U);
        const uint32_t expected = (uint32_t)product_by_shifts(a, b);
        if (differs(a, b, expected) || differs(b, a, expected)) {
            return 2;
        }
        if (wide_differs(a, b) || wide_differs((uint64_t)a << 16 | b, (uint64_t)b << (i & 31U))) {
            return 4;
        }
    }
    /* factors that are small modulo 2^31 only */
    return differs(0x80000001U, 0x80000000U, 0x80000000U) ? 3 : 0;
}
