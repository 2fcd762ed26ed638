/* SPDX-License-Identifier: Apache-2.0 */
/* Private to src/: bytes as pairs of 16-bit lanes, and the way back from sums to bytes. */
#ifndef TINYQ_LANES_DSP_H
#define TINYQ_LANES_DSP_H

#include <tinyq/arith.h>
#include <tinyq/dsp.h>

/* Lanes (0, 2) and (1, 3) of four activations. */
TQ_INLINE uint32_t even_lanes(uint32_t bytes, int is_signed) {
    return is_signed ? tq_sxtb16(bytes) : tq_uxtb16(bytes);
}

TQ_INLINE uint32_t odd_lanes(uint32_t bytes, int is_signed) {
    return is_signed ? tq_sxtb16_ror8(bytes) : tq_uxtb16_ror8(bytes);
}

/* The last 1..3 of a row of activations, filled up with zeros. */
TQ_INLINE uint32_t load_last(const uint8_t *x, uint32_t count) {
    uint32_t bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        bytes |= (uint32_t)x[i] << (8 * i);
    }
    return bytes;
}

/* tq_requantize of sums without bias, for few channels at a time. */
TQ_INLINE void finish_sums(const tq_requant *requant, uint32_t first, uint32_t count,
                           const int32_t *sums, uint8_t *outputs) {
    const int32_t *bias = requant->bias + first;
    const uint32_t step = requant->shift_step;
    const uint8_t *shift = requant->shift + first * step;
    const int32_t lo = requant->lo;
    const int32_t hi = requant->hi;
    const uint8_t rounding = requant->rounding;
    for (; count > 0; count--, shift += step) {
        const int32_t acc = tq_round_shift(*sums++ + *bias++, *shift, rounding);
        *outputs++ = (uint8_t)tq_clamp(acc, lo, hi);
    }
}

#endif
