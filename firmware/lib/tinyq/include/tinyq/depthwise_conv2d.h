/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINYQ_DEPTHWISE_CONV2D_H
#define TINYQ_DEPTHWISE_CONV2D_H

#include "arith.h"
#include "geometry.h"
#include "weights.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Greatest kernel.height * kernel.width. The images of two channels live on the stack while their
 * plane is computed (2 bytes a tap); the exporter refuses a larger kernel. */
#define TQ_DEPTHWISE_MAX_TAPS 256

/* The window of one output position over two channels. */
typedef struct tq_taps {
    const uint8_t *x;     /* first element, of the first channel */
    uint32_t x_second;    /* elements from the first channel to the second: 0 or 1 */
    uint32_t x_row_step;  /* elements from one row of the image to the next */
    uint32_t x_col_step;  /* elements from one column to the next: the input's channels */
    const int8_t *images; /* images that meet x[0], the two channels' interleaved */
    uint32_t row_step;    /* images from one row of the kernel to the next: 2 * kernel.width */
    uint32_t rows;        /* 0 is allowed */
    uint32_t cols;
} tq_taps;

/* Adds the products of two channels to sums[0] and sums[1]. */
typedef void (*tq_sum_taps)(const tq_taps *taps, int32_t sums[2]);
void tq_sum_taps_s8(const tq_taps *taps, int32_t sums[2]);
void tq_sum_taps_u8(const tq_taps *taps, int32_t sums[2]);

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
