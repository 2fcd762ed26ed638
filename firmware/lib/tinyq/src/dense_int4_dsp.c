/* SPDX-License-Identifier: Apache-2.0 */
#include "dense_blocks.h"

#define WORD_CHANNELS 4

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

#include "dense_dsp_impl.h"

const uint32_t *tq_sum_dense_int4_s8(const uint32_t *weights, const tq_dense_dsp_x *x,
                                     uint32_t channels, int32_t *sums) {
    return sum(weights, x, channels, sums, 1);
}

const uint32_t *tq_sum_dense_int4_u8(const uint32_t *weights, const tq_dense_dsp_x *x,
                                     uint32_t channels, int32_t *sums) {
    return sum(weights, x, channels, sums, 0);
}

#if !TQ_DSP_ASSEMBLY
void tq_run_dense_int4_s8(tq_dense_dsp_blocks *job) {
    run(job, 1);
}

void tq_run_dense_int4_u8(tq_dense_dsp_blocks *job) {
    run(job, 0);
}
#endif
