/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINYQ_DEPTHWISE_CONV2D_H
#define TINYQ_DEPTHWISE_CONV2D_H

#include "arith.h"
#include "geometry.h"
#include "weights.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Greatest kernel.height * kernel.width: a buffer on the stack holds the decoded weights of at
 * least one channel. The exporter refuses a larger kernel. */
#define TQ_DEPTHWISE_MAX_TAPS 256U

/* The window of one output position over several output channels, as far as it lies inside the
 * image. */
typedef struct tq_taps {
    const uint8_t *x;     /* first element, in the first output channel's input channel */
    uint32_t x_row_step;  /* elements from one row of the image to the next */
    uint32_t x_col_step;  /* elements from one column to the next: the input's channels */
    const int8_t *images; /* weights that meet x[0]: [kernel row][kernel column][output channel] */
    uint32_t row_step;    /* images from one row of the kernel to the next */
    uint32_t col_step;    /* images from one column to the next */
    uint32_t rows;        /* 0 is allowed */
    uint32_t cols;        /* 0 is allowed */
    uint32_t multiplier;  /* output channels to an input channel, >= 1 */
    uint32_t phase;       /* output channels before the first one that share its input channel */
} tq_taps;

/* Adds to sums[i] the products of the window and output channel i, i = 0..count-1. The exporter
 * proves that no partial sum overflows 32 bits. */
typedef void (*tq_sum_taps)(const tq_taps *taps, uint32_t count, int32_t *sums);
void tq_sum_taps_s8(const tq_taps *taps, uint32_t count, int32_t *sums);
void tq_sum_taps_u8(const tq_taps *taps, uint32_t count, int32_t *sums);

/* Depthwise convolution: codes [output.channels][kernel.height][kernel.width]; output channel
 * c * multiplier + m reads input channel c. */
typedef struct tq_depthwise_conv2d {
    tq_weights weights;
    tq_requant requant;
    tq_unpack unpack;     /* tq_unpack_<encoding> */
    tq_sum_taps sum_taps; /* tq_sum_taps_s8 for an int8 input, _u8 for a uint8 input */
    tq_shape input;
    tq_shape output;
    tq_kernel kernel;    /* height * width <= TQ_DEPTHWISE_MAX_TAPS */
    uint16_t multiplier; /* output.channels / input.channels, >= 1 */
} tq_depthwise_conv2d;

/* input: [input], output: [output] elements of one byte; the two must not overlap. */
void tq_run_depthwise_conv2d(const tq_depthwise_conv2d *layer, const void *input, void *output);

#ifdef __cplusplus
}
#endif

#endif
