/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINYQ_AVERAGE_POOL2D_H
#define TINYQ_AVERAGE_POOL2D_H

#include "geometry.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Average over the elements of the window that lie inside the image, rounded half away from zero
 * about the middle of the type (0 for int8, 128 for uint8), then clamped. Input and output share
 * exponent and signedness. */
typedef struct tq_average_pool2d {
    tq_shape input;
    tq_shape output;   /* the same number of channels */
    tq_kernel kernel;  /* no window may lie wholly in the padding; height * width <= 2^22 */
    uint8_t is_signed; /* 1: int8; 0: uint8 */
    int16_t lo;        /* smallest output */
    int16_t hi;        /* greatest output */
} tq_average_pool2d;

/* input: [input], output: [output] elements of one byte; the two must not overlap. Where the number
 * of channels is a multiple of 4, the input lies at a multiple of 4. */
void tq_run_average_pool2d(const tq_average_pool2d *layer, const void *input, void *output);

#ifdef __cplusplus
}
#endif

#endif
