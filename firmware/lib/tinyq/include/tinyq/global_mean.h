/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINYQ_GLOBAL_MEAN_H
#define TINYQ_GLOBAL_MEAN_H

#include "geometry.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Elements of one mean. */
#define TQ_GLOBAL_MEAN_MAX 32768

/* Mean over height and width with an exponent of its own: acc = factor * sum over the image,
 * shifted right by n with TQ_ROUND_TFLITE, then clamped. The factor over a power of two is the
 * reciprocal of the number of elements. */
typedef struct tq_global_mean {
    tq_shape input;    /* height * width <= TQ_GLOBAL_MEAN_MAX */
    uint8_t factor;    /* 1..127, odd; height * width * factor < 2^22 */
    uint8_t shift;     /* n, 0..31 */
    uint8_t is_signed; /* 1: the input is int8; 0: uint8 */
    int16_t lo;        /* smallest output */
    int16_t hi;        /* greatest output */
} tq_global_mean;

/* input: [input], output: [channels] elements of one byte; the two must not overlap. No sum can
 * overflow: the bounds above hold by construction of the descriptor (tinyq/ops/global_mean.py). */
void tq_run_global_mean(const tq_global_mean *layer, const void *input, void *output);

#ifdef __cplusplus
}
#endif

#endif
