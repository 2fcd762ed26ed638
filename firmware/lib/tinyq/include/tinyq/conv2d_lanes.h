/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINYQ_CONV2D_LANES_H
#define TINYQ_CONV2D_LANES_H

#include "arith.h"
#include "geometry.h"
#include "weights.h"

#ifdef __cplusplus
extern "C" {
#endif

/* tq_conv2d with 16-bit accumulators, two output pixels in one word. The exporter proves that no
 * partial sum, with bias and rounding constant, leaves -32767..32767. */
typedef struct tq_conv2d_lanes {
    tq_weights weights;
    tq_requant requant; /* every bias fits 16 bits */
    tq_dot_lanes dot;   /* tq_dot_lanes_<encoding> */
    tq_shape input;
    tq_shape output;
    tq_kernel kernel;
    uint8_t is_signed; /* 1: the input is int8; 0: uint8 */
} tq_conv2d_lanes;

/* input: [input], output: [output] elements of one byte; the two must not overlap. */
void tq_run_conv2d_lanes(const tq_conv2d_lanes *layer, const void *input, void *output);

#ifdef __cplusplus
}
#endif

#endif
