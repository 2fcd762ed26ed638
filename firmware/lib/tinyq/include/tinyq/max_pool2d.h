/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINYQ_MAX_POOL2D_H
#define TINYQ_MAX_POOL2D_H

#include "geometry.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Greatest element of the window that lies inside the image. Input and output share exponent and
 * signedness. */
typedef struct tq_max_pool2d {
    tq_shape input;
    tq_shape output;   /* the same number of channels */
    tq_kernel kernel;  /* no window may lie wholly in the padding */
    uint8_t is_signed; /* 1: int8; 0: uint8 */
} tq_max_pool2d;

/* input: [input], output: [output] elements of one byte; the two must not overlap. */
void tq_run_max_pool2d(const tq_max_pool2d *layer, const void *input, void *output);

#ifdef __cplusplus
}
#endif

#endif
