/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINYQ_RELU_H
#define TINYQ_RELU_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A clamp that stands alone. Input and output share the exponent; an int8 input may become a uint8
 * output. */
typedef struct tq_relu {
    uint32_t count;       /* elements */
    uint8_t input_signed; /* 1: the input is int8; 0: uint8 */
    int16_t lo;           /* smallest output */
    int16_t hi;           /* greatest output */
} tq_relu;

/* input, output: [count] elements of one byte. output may be input. */
void tq_run_relu(const tq_relu *layer, const void *input, void *output);

#ifdef __cplusplus
}
#endif

#endif
