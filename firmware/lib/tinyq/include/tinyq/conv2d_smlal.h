/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINYQ_CONV2D_SMLAL_H
#define TINYQ_CONV2D_SMLAL_H

#include "arith.h"
#include "geometry.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * 3x3 convolution with stride 1 of 4-bit weights (-8..7) and 4-bit activations (-8..7 or 0..15), in
 * products of polynomials: three neighbouring pixels in one word, the three taps of a kernel's row
 * in another, 13 bits apart; one SMLAL does nine products and leaves five sums in its 64 bits.
 *
 * A step is one row of the kernel and one input channel. The exporter cuts the steps into segments
 * such that, over the inputs it proved, the products of a segment sum to -4096..4095 in every lane,
 * those with the first column of the kernel to -2048..2047.
 */
typedef struct tq_conv2d_smlal {
    const uint32_t *codes;    /* per 4 output channels and 2 steps 3 words, columns 2, 1, 0 of the
                                 kernel: signed nibble 4 * step + channel; zero codes to fill up */
    const uint16_t *segments; /* per 4 output channels the steps of each segment, multiples of 6,
                                 `steps` together */
    tq_requant requant;
    tq_shape input;
    tq_shape output;
    tq_kernel kernel; /* 3x3, strides 1 */
    uint16_t steps;
    uint16_t most_segments; /* of any 4 output channels */
    uint16_t tile;          /* output rows that are computed together, >= 1 */
    uint8_t is_signed;      /* 1: the input is int8; 0: uint8 */
} tq_conv2d_smlal;

/*
 * input: [input], output: [output] elements of one byte; the two must not overlap. With
 * words = ceil((output width + (left > 0 ? 1 : 2)) / 3), scratch holds
 * 4 * (words * (tile + 2) * channels + 4 * steps + 12 * words + 4 * most_segments) bytes, then
 * channels bytes; it is aligned to 4.
 */
void tq_run_conv2d_smlal(const tq_conv2d_smlal *layer, const void *input, void *output,
                         void *scratch);

#ifdef __cplusplus
}
#endif

#endif
