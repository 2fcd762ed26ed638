/* SPDX-License-Identifier: Apache-2.0 */
#include "dense_blocks.h"

/* x times a word of two channels: sums[0] of the low bytes, sums[1] of the lanes. */
TQ_INLINE void add_word(uint32_t x, uint32_t lanes, uint32_t *sums) {
    sums[1] = tq_smlad(x, lanes, sums[1]);
    sums[0] = tq_smlad(x, tq_sxtb16(lanes), sums[0]);
}

/* Four inputs; channels: 2 or 8. */
TQ_INLINE const uint32_t *add_group(const uint32_t *weights, uint32_t bytes, uint32_t channels,
                                    uint32_t *sums, int is_signed) {
    const uint32_t even = even_lanes(bytes, is_signed);
    const uint32_t odd = odd_lanes(bytes, is_signed);
    for (uint32_t i = 0; i < channels; i += 2) {
        add_word(even, *weights++, sums + i);
    }
    for (uint32_t i = 0; i < channels; i += 2) {
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

/* The sums of the channels from what was summed. */
static void separate(const uint32_t *sums, uint32_t channels, int32_t *to) {
    for (uint32_t i = 0; i < channels; i += 2) {
        to[i] = (int32_t)sums[i];
        to[i + 1] = (int32_t)(sums[i + 1] - sums[i]) >> 8;
    }
}

TQ_INLINE const uint32_t *sum(const uint32_t *weights, const tq_dense_dsp_x *x, uint32_t channels,
                              int32_t *to, int is_signed) {
    const uint32_t groups = x->count / 4;
    const uint32_t rest = x->count % 4;
    uint32_t sums[BLOCK] = {0, 0, 0, 0, 0, 0, 0, 0};
    weights = channels == BLOCK ? add_groups(weights, x->bytes, groups, BLOCK, sums, is_signed)
                                : add_groups(weights, x->bytes, groups, 2, sums, is_signed);
    if (rest > 0) {
        const uint32_t bytes = load_last(x->bytes + 4 * groups, rest);
        weights = add_group(weights, bytes, channels, sums, is_signed);
    }
    separate(sums, channels, to);
    return weights;
}

const uint32_t *tq_sum_dense_int8_s8(const uint32_t *weights, const tq_dense_dsp_x *x,
                                     uint32_t channels, int32_t *sums) {
    return sum(weights, x, channels, sums, 1);
}

const uint32_t *tq_sum_dense_int8_u8(const uint32_t *weights, const tq_dense_dsp_x *x,
                                     uint32_t channels, int32_t *sums) {
    return sum(weights, x, channels, sums, 0);
}

#if !TQ_DSP_ASSEMBLY
TQ_INLINE void run(tq_dense_dsp_blocks *job, int is_signed) {
    while (job->blocks > 0) {
        uint32_t sums[BLOCK] = {0, 0, 0, 0, 0, 0, 0, 0};
        int32_t channels[BLOCK];
        job->weights = add_groups(job->weights, job->x, job->groups, BLOCK, sums, is_signed);
        separate(sums, BLOCK, channels);
        finish_block(job, channels);
    }
}

void tq_run_dense_int8_s8(tq_dense_dsp_blocks *job) {
    run(job, 1);
}

void tq_run_dense_int8_u8(tq_dense_dsp_blocks *job) {
    run(job, 0);
}
#endif
