/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINYQ_CONV2D_NIBBLES_H
#define TINYQ_CONV2D_NIBBLES_H

#include "arith.h"
#include "geometry.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Convolution of 4-bit weights (-8..7) and 4-bit activations (-8..7 or 0..15), four products an
 * SMLAD: a 16-bit lane holds the same element of two output pixels' windows, a word two elements.
 *
 * The lane's lower pixel is 0..15 in bits 0..11, its upper pixel -8..7 from bit 12 on; the type of
 * the input is shifted by 8 for one of them, and `offsets` make up for it. A row of the kernel is
 * filled up with zero weights to a multiple of 4 elements; a step is two elements, 0 and 2 or 1 and
 * 3 of four. The exporter cuts the steps into segments such that, over the inputs it proved, the
 * lower pixel's products of a segment sum to -2048..2047; the upper pixel's of all segments to less
 * than 2^18 in magnitude.
 */
typedef struct tq_conv2d_nibbles {
    const uint32_t
        *codes; /* per 4 output channels and 4 elements 2 words: of elements 0 and 2, then
                   1 and 3, the codes weight + 8 of all channels, lowest bits first */
    const int32_t *offsets;   /* [channels] 8 * the sum of the channel's weights */
    const uint16_t *segments; /* per 4 output channels the steps of each segment, multiples of 4,
                                 `steps` together */
    tq_requant requant;
    tq_shape input;
    tq_shape output;
    tq_kernel kernel;
    uint16_t steps;
    uint16_t tile;     /* groups of 4 output pixels that are computed together, >= 1 */
    uint8_t is_signed; /* 1: the input is int8; 0: uint8 */
} tq_conv2d_nibbles;

/*
 * input: [input], output: [output] elements of one byte; the two must not overlap. With row =
 * kernel width * channels, scratch holds 4 * (2 * steps * tile + 4 * steps + 16 * tile) + 4 * row
 * bytes; it is aligned to 4.
 */
void tq_run_conv2d_nibbles(const tq_conv2d_nibbles *layer, const void *input, void *output,
                           void *scratch);

#ifdef __cplusplus
}
#endif

#endif
