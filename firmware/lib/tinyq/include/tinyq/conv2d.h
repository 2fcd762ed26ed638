/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINYQ_CONV2D_H
#define TINYQ_CONV2D_H

#include "arith.h"
#include "geometry.h"
#include "weights.h"

#ifdef __cplusplus
extern "C" {
#endif

/* 2D convolution: codes [output.channels][kernel.height][kernel.width][input.channels]. */
typedef struct tq_conv2d {
    tq_weights weights;
    tq_requant requant;
    tq_dot dot; /* tq_dot_<encoding>_s8 for an int8 input, _u8 for a uint8 input */
    tq_shape input;
    tq_shape output;
    tq_kernel kernel;
} tq_conv2d;

/* input: [input], output: [output] elements of one byte; the two must not overlap. */
void tq_run_conv2d(const tq_conv2d *layer, const void *input, void *output);

#ifdef __cplusplus
}
#endif

#endif
