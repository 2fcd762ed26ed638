/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINYQ_SOFTMAX_H
#define TINYQ_SOFTMAX_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Softmax over the last axis, equal to TensorFlow Lite Micro's int8 reference kernel (fixed point
 * with 31 fractional bits). The output is uint8 with exponent -8. */
typedef struct tq_softmax {
    const int32_t *exps;  /* [exp_count] exp(-d * 2^e_in) in Q0.31 for d = 0, 1, 2 ... */
    uint16_t exp_count;   /* 1..256; elements further than that below the greatest give 0 */
    uint16_t classes;     /* elements of a row, 1..4095 (the sum has 12 integer bits) */
    uint32_t rows;        /* product of the other dimensions */
    uint8_t input_signed; /* 1: the input is int8; 0: uint8 */
} tq_softmax;

/* input, output: [rows][classes] elements of one byte. output may be input. */
void tq_run_softmax(const tq_softmax *layer, const void *input, void *output);

#ifdef __cplusplus
}
#endif

#endif
