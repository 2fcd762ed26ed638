/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From sums to output bytes, for every rounding and clamp.
 *
 * Half away from zero for n >= 1, with h = 2^(n-1) and v = acc + h - 1: (v + 1) >> n for v >= 0 and
 * v >> n for v < 0. Where the sign of v is not that of acc, -h < acc < 0, both give 0.
 */
#include <tinyq/conv2d_dsp.h>

#include <tinyq/dsp.h>

/* A sum of channel 0..3 of a block; odd ones hold 256 times theirs. */
TQ_INLINE int32_t end_sum(const tq_conv2d_dsp *layer, const int32_t *starts, int32_t sum,
                          uint32_t channel) {
    const uint32_t scale = channel % 2U * 8U;
    const uint32_t shift = tq_dsp_shift(starts, channel) - scale;
    return tq_clamp(tq_round_shift(sum >> scale, shift, layer->rounding), layer->lo, layer->hi);
}

TQ_INLINE uint8_t add(const tq_dsp_add *add, int32_t y, uint8_t byte) {
    const int32_t less = (1 << (add->shift - 1)) - 1;
    const int32_t other = tq_read(byte, tq_sign_bit(add->other_signed));
    int32_t sum = y * add->y_factor + other * add->other_factor + less;
    sum += ~(sum >> 31) & 1;
    return (uint8_t)tq_clamp(sum >> add->shift, add->lo, add->hi);
}

/* Both pixels are read before one is written: they may be the same. */
TQ_INLINE void finish(const tq_conv2d_dsp *layer, const int32_t *starts, const int32_t *sums,
                      uint32_t count, const tq_dsp_pixels *pixels, int adds) {
    const tq_dsp_pixels to = *pixels; /* a copy: no store to outputs can change it */
    for (uint32_t at = 0; at < count; at++) {
        const uint32_t channel = at % 4U;
        const int32_t *const own = starts + at / 4U * TQ_DSP_STARTS;
        const int32_t *const both = sums + at / 4U * TQ_DSP_SUMS + channel;
        const int32_t a = end_sum(layer, own, both[0], channel);
        const int32_t b = end_sum(layer, own, both[4], channel);
        if (adds) {
            const uint8_t others[2] = {to.others[0][at], to.others[1][at]};
            to.outputs[0][at] = add(&layer->add, a, others[0]);
            to.outputs[1][at] = add(&layer->add, b, others[1]);
        } else {
            to.outputs[0][at] = (uint8_t)a;
            to.outputs[1][at] = (uint8_t)b;
        }
    }
}

TQ_DSP_DECLARE_FINISH(any) {
    finish(layer, starts, sums, count, pixels, 0);
}

TQ_DSP_DECLARE_FINISH(add_any) {
    finish(layer, starts, sums, count, pixels, 1);
}
