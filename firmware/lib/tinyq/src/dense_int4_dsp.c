/* SPDX-License-Identifier: Apache-2.0 */
#include "dense_blocks.h"

/* x times a word of four channels: sums[0..3] of its lowest one, two, three, four nibbles. */
TQ_INLINE void add_word(uint32_t x, uint32_t lanes, uint32_t *sums) {
    sums[3] = tq_smlad(x, lanes, sums[3]);
    lanes &= ~UINT32_C(0xF000F000);
    sums[2] = tq_smlad(x, lanes, sums[2]);
    lanes = tq_uxtb16(lanes);
    sums[1] = tq_smlad(x, lanes, sums[1]);
    lanes &= ~UINT32_C(0x00F000F0);
    sums[0] = tq_smlad(x, lanes, sums[0]);
}

/* Four inputs; channels: 4 or 8. */
TQ_INLINE const uint32_t *add_group(const uint32_t *weights, uint32_t bytes, uint32_t channels,
                                    uint32_t *sums, int is_signed) {
    const uint32_t even = even_lanes(bytes, is_signed);
    const uint32_t odd = odd_lanes(bytes, is_signed);
    for (uint32_t i = 0; i < channels; i += 4) {
        add_word(even, *weights++, sums + i);
    }
    for (uint32_t i = 0; i < channels; i += 4) {
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

/* The sums of the channels from what was summed; eight: 8 * total of x, the offset of the three
 * lower nibbles. */
static void separate(const uint32_t *sums, uint32_t eight, uint32_t channels, int32_t *to) {
    for (; channels > 0; channels -= 4, sums += 4, to += 4) {
        to[0] = (int32_t)(sums[0] - eight);
        to[1] = (int32_t)(sums[1] - sums[0] - (eight << 4)) >> 4;
        to[2] = (int32_t)(sums[2] - sums[1] - (eight << 8)) >> 8;
        to[3] = (int32_t)(sums[3] - sums[2]) >> 12;
    }
}

TQ_INLINE const uint32_t *sum(const uint32_t *weights, const tq_dense_dsp_x *x, uint32_t channels,
                              int32_t *to, int is_signed) {
    const uint32_t groups = x->count / 4;
    const uint32_t rest = x->count % 4;
    uint32_t sums[BLOCK] = {0, 0, 0, 0, 0, 0, 0, 0};
    weights = channels == BLOCK ? add_groups(weights, x->bytes, groups, BLOCK, sums, is_signed)
                                : add_groups(weights, x->bytes, groups, 4, sums, is_signed);
    if (rest > 0) {
        const uint32_t bytes = load_last(x->bytes + 4 * groups, rest);
        weights = add_group(weights, bytes, channels, sums, is_signed);
    }
    separate(sums, 8U * (uint32_t)x->total, channels, to);
    return weights;
}

const uint32_t *tq_sum_dense_int4_s8(const uint32_t *weights, const tq_dense_dsp_x *x,
                                     uint32_t channels, int32_t *sums) {
    return sum(weights, x, channels, sums, 1);
}

const uint32_t *tq_sum_dense_int4_u8(const uint32_t *weights, const tq_dense_dsp_x *x,
                                     uint32_t channels, int32_t *sums) {
    return sum(weights, x, channels, sums, 0);
}

#if !TQ_DSP_ASSEMBLY
TQ_INLINE void run(tq_dense_dsp_blocks *job, int is_signed) {
    while (job->blocks > 0) {
        uint32_t sums[BLOCK] = {0, 0, 0, 0, 0, 0, 0, 0};
        int32_t channels[BLOCK];
        job->weights = add_groups(job->weights, job->x, job->groups, BLOCK, sums, is_signed);
        separate(sums, job->eight, BLOCK, channels);
        finish_block(job, channels);
    }
}

void tq_run_dense_int4_s8(tq_dense_dsp_blocks *job) {
    run(job, 1);
}

void tq_run_dense_int4_u8(tq_dense_dsp_blocks *job) {
    run(job, 0);
}
#endif
