/* SPDX-License-Identifier: Apache-2.0 */
#include "dense_blocks.h"

#define WORD_CHANNELS 2

/* x times a word of two channels: sums[0] of the low bytes, sums[1] of the lanes. */
TQ_INLINE void add_word(uint32_t x, uint32_t lanes, uint32_t *sums) {
    sums[1] = tq_smlad(x, lanes, sums[1]);
    sums[0] = tq_smlad(x, tq_sxtb16(lanes), sums[0]);
}

/* The sums of the channels from what was summed. */
static void separate(const uint32_t *sums, uint32_t eight, uint32_t channels, int32_t *to) {
    (void)eight;
    for (uint32_t i = 0; i < channels; i += 2) {
        to[i] = (int32_t)sums[i];
        to[i + 1] = (int32_t)(sums[i + 1] - sums[i]) >> 8;
    }
}

#include "dense_dsp_impl.h"

const uint32_t *tq_sum_dense_int8_s8(const uint32_t *weights, const tq_dense_dsp_x *x,
                                     uint32_t channels, int32_t *sums) {
    return sum(weights, x, channels, sums, 1);
}

const uint32_t *tq_sum_dense_int8_u8(const uint32_t *weights, const tq_dense_dsp_x *x,
                                     uint32_t channels, int32_t *sums) {
    return sum(weights, x, channels, sums, 0);
}

#if !TQ_DSP_ASSEMBLY
void tq_run_dense_int8_s8(tq_dense_dsp_blocks *job) {
    run(job, 1);
}

void tq_run_dense_int8_u8(tq_dense_dsp_blocks *job) {
    run(job, 0);
}
#endif
