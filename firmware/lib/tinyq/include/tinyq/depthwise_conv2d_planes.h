/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINYQ_DEPTHWISE_CONV2D_PLANES_H
#define TINYQ_DEPTHWISE_CONV2D_PLANES_H

#include "geometry.h"
#include "planes.h"
#include "weights.h"

#ifdef __cplusplus
extern "C" {
#endif

/* tq_depthwise_conv2d with windows of 3x3, by channels: see planes.h. With lanes, a word holds a
 * pixel of the upper and one of the lower half of the image, ceil(height / 2) output rows apart.
 *
 * scratch: activations [planes][rows under a tile][pitch] | sums [tile][output.width]. */
typedef struct tq_depthwise_conv2d_planes {
    tq_shape input;
    tq_shape output;
    tq_kernel kernel; /* 3x3; col_stride is that of sum_plane */
    tq_weights weights;
    tq_requant requant;
    /* tq_unpack_<encoding>; NULL: codes are int8, or of 4 bits where there is a table, of 16 images
     */
    tq_unpack unpack;
    tq_sum_plane sum_plane;
    tq_finish_plane finish;
    uint16_t multiplier; /* output.channels / input.channels, >= 1 */
    uint16_t pitch;      /* words of a row: that of sum_plane */
    uint16_t tile;       /* output rows at a time; with lanes, of either half */
    uint8_t planes; /* 1, or 4 channels that are made into words at a time; multiplier is 1 then */
    uint8_t lanes;  /* 1: words are lanes; the exporter proves that every sum fits 16 bits */
    uint8_t is_signed; /* 1: the input is int8; 0: uint8 */
} tq_depthwise_conv2d_planes;

/* input: [input], output: [output] elements of one byte; the two must not overlap. scratch: aligned
 * to 4. */
void tq_run_depthwise_conv2d_planes(const tq_depthwise_conv2d_planes *layer, const void *input,
                                    void *output, void *scratch);

#ifdef __cplusplus
}
#endif

#endif
