/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINYQ_DENSE_H
#define TINYQ_DENSE_H

#include "arith.h"
#include "weights.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Fully connected layer: codes [outputs][inputs]. */
typedef struct tq_dense {
    tq_weights weights;
    tq_requant requant;
    tq_dot dot; /* tq_dot_<encoding>_s8 for an int8 input, _u8 for a uint8 input */
    uint32_t inputs;
    uint32_t outputs;
} tq_dense;

/* input: [inputs], output: [outputs] elements of one byte; the two must not overlap. */
void tq_run_dense(const tq_dense *layer, const void *input, void *output);

#ifdef __cplusplus
}
#endif

#endif
