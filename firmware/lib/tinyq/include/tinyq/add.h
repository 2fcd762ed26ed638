/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINYQ_ADD_H
#define TINYQ_ADD_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Elementwise sum. With f = min(e_a, e_b): acc = a * 2^(e_a - f) + b * 2^(e_b - f), shifted right
 * by n = e_out - f with halves away from zero, then clamped. */
typedef struct tq_add {
    uint32_t count;   /* elements */
    int32_t a_factor; /* 2^(e_a - f), at most 2^19 */
    int32_t b_factor; /* 2^(e_b - f), at most 2^19; one of the two factors is 1 */
    uint8_t a_signed; /* 1: a is int8; 0: uint8 */
    uint8_t b_signed; /* the same for b */
    uint8_t shift;    /* n, 0..31 */
    int16_t lo;       /* smallest output */
    int16_t hi;       /* greatest output */
} tq_add;

/* a, b, output: [count] elements of one byte. output may be a or b. */
void tq_run_add(const tq_add *layer, const void *a, const void *b, void *output);

#ifdef __cplusplus
}
#endif

#endif
