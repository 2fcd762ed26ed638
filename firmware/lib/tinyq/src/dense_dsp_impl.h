/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sums of uniform weights of which several channels share a word, private to
 * src/dense_<encoding>_dsp.c, which defines three things first:
 * WORD_CHANNELS, the channels of a word, which divides BLOCK;
 * add_word(x, lanes, sums), which adds two inputs times a word to WORD_CHANNELS sums;
 * separate(sums, eight, channels, to), the channels' sums from what add_word() added, eight being 8
 * times the total of the inputs.
 * It then wraps sum() and run() into its public functions.
 */
#ifndef TINYQ_DENSE_DSP_IMPL_H
#define TINYQ_DENSE_DSP_IMPL_H

#include "dense_blocks.h"

/* Four inputs; channels: WORD_CHANNELS or BLOCK. */
TQ_INLINE const uint32_t *add_group(const uint32_t *weights, uint32_t bytes, uint32_t channels,
                                    uint32_t *sums, int is_signed) {
    const uint32_t even = even_lanes(bytes, is_signed);
    const uint32_t odd = odd_lanes(bytes, is_signed);
    for (uint32_t i = 0; i < channels; i += WORD_CHANNELS) {
        add_word(even, *weights++, sums + i);
    }
    for (uint32_t i = 0; i < channels; i += WORD_CHANNELS) {
        add_word(odd, *weights++, sums + i);
    }
    return weights;
}

TQ_INLINE const uint32_t *add_groups(const uint32_t *weights, const uint8_t *x, uint32_t groups,
                                     uint32_t channels, uint32_t *sums, int is_signed) {
    for (; groups > 0; groups--, x += 4) {
        weights = add_group(weights, tq_load32(x), channels, sums, is_signed);
    }
    return weights;
}

/* A tq_dense_dsp_sums, with the signedness of the inputs as a constant. */
TQ_INLINE const uint32_t *sum(const uint32_t *weights, const tq_dense_dsp_x *x, uint32_t channels,
                              int32_t *to, int is_signed) {
    const uint32_t groups = x->count / 4;
    const uint32_t rest = x->count % 4;
    uint32_t sums[BLOCK] = {0, 0, 0, 0, 0, 0, 0, 0};
    weights = channels == BLOCK
                  ? add_groups(weights, x->bytes, groups, BLOCK, sums, is_signed)
                  : add_groups(weights, x->bytes, groups, WORD_CHANNELS, sums, is_signed);
    if (rest > 0) {
        const uint32_t bytes = load_last(x->bytes + 4 * groups, rest);
        weights = add_group(weights, bytes, channels, sums, is_signed);
    }
    separate(sums, 8U * (uint32_t)x->total, channels, to);
    return weights;
}

#if !TQ_DSP_ASSEMBLY
/* A tq_dense_dsp_run likewise. */
TQ_INLINE void run(tq_dense_dsp_blocks *job, int is_signed) {
    while (job->blocks > 0) {
        uint32_t sums[BLOCK] = {0, 0, 0, 0, 0, 0, 0, 0};
        int32_t channels[BLOCK];
        job->weights = add_groups(job->weights, job->x, job->groups, BLOCK, sums, is_signed);
        separate(sums, job->eight, BLOCK, channels);
        finish_block(job, channels);
    }
}
#endif

#endif
