/* SPDX-License-Identifier: Apache-2.0 */
/* Private to src/: what fully connected layers for the DSP extension share. */
#ifndef TINYQ_DENSE_BLOCKS_H
#define TINYQ_DENSE_BLOCKS_H

#include <tinyq/dense_dsp.h>

#include "dsp_assembly.h"
#include "lanes_dsp.h"

enum { BLOCK = 8 };

/* The outputs of a block: clamped to bytes, shifted as `linear` says. */
TQ_INLINE void finish_block(tq_dense_dsp_blocks *job, const int32_t *sums) {
    for (uint32_t i = 0; i < BLOCK; i++) {
        const int32_t acc = sums[i] + *job->bias++;
        const uint32_t n = *job->shift++;
        if (job->linear) {
            *job->outputs++ = (uint8_t)TQ_SSAT(tq_round_shift_tflite(acc, n), 8);
        } else {
            *job->outputs++ = (uint8_t)TQ_USAT(acc >> n, 8);
        }
    }
    job->blocks--;
}

/* Whole blocks of a layer without inputs left over. */
TQ_INLINE tq_dense_dsp_blocks blocks_of(const tq_requant *requant, const void *weights,
                                        const void *input, uint32_t inputs, uint32_t outputs,
                                        void *output) {
    return (tq_dense_dsp_blocks){
        .weights = weights,
        .x = input,
        .groups = inputs / 4,
        .bias = requant->bias,
        .shift = requant->shift,
        .outputs = output,
        .blocks = outputs / BLOCK,
        .linear = requant->rounding == TQ_ROUND_TFLITE,
    };
}

#endif
