/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINYQ_CONV2D_POT_CODE_H
#define TINYQ_CONV2D_POT_CODE_H

#include "arith.h"
#include "geometry.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Pairs of output pixels, one after another, for the code of a layer. */
typedef struct tq_pot_pairs {
    uint8_t *low;  /* where the first pixel's channels go */
    uint8_t *high; /* where the second's go; of an odd last pixel both are the same */
    const struct tq_conv2d_pot_code *layer;
    const uint8_t *image;
    uint8_t *next; /* the next pixel's channels */
    uint32_t left; /* pixels still to come */
    uint16_t row;  /* of the next one */
    uint16_t column;
} tq_pot_pairs;

/* Convolution whose weights are the instructions of `code`, which the exporter writes for the
 * layer: for every pair that tq_pot_next gives it puts all channels of both pixels. */
typedef struct tq_conv2d_pot_code {
    void (*code)(tq_pot_pairs *pairs);
    tq_shape input;
    tq_shape output;
    tq_kernel kernel;
    uint8_t is_signed; /* 1: the input is int8; 0: uint8 */
} tq_conv2d_pot_code;

/* input: [input], output: [output] elements of one byte; the two must not overlap. The stack holds
 * a word for every element of the window, and the sums of a few channels. */
void tq_run_conv2d_pot_code(const tq_conv2d_pot_code *layer, const void *input, void *output);

/* The next pair: 0 if there is none, else 1 and in words[] for every element of the window x0 + x1
 * * 2^16 modulo 2^32, x0 of the first pixel's window, x1 of the second's; 0 in the padding. */
int tq_pot_next(tq_pot_pairs *pairs, uint32_t *words);

/* Shifts, clamps to lo..hi and stores both lanes of a channel's sum. The exporter proves that each
 * of them is in -32768..32767. */
static inline void tq_pot_put(const tq_pot_pairs *pairs, uint32_t channel, uint32_t lanes,
                              uint32_t shift, int32_t lo, int32_t hi) {
    const int32_t low = (int32_t)((lanes & 0xFFFFU) ^ 0x8000U) - 0x8000;
    const int32_t high = (int32_t)(((lanes + 0x8000U) >> 16) ^ 0x8000U) - 0x8000;
    pairs->low[channel] = (uint8_t)tq_clamp(low >> shift, lo, hi);
    pairs->high[channel] = (uint8_t)tq_clamp(high >> shift, lo, hi);
}

#ifdef __cplusplus
}
#endif

#endif
