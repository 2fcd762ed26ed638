/* SPDX-License-Identifier: Apache-2.0 */
#include "packed_sums.h"

/* The common cases have code of their own. */
typedef enum finish_kind {
    FINISH_UINT4, /* folded rounding, outputs 0..15 */
    FINISH_INT4,  /* the TFLite rule with n >= 2, outputs -8..7 */
    FINISH_ANY
} finish_kind;

/* The output for a finished sum; half: 2^(n-1), for FINISH_INT4. */
TQ_INLINE uint8_t finish_sum(const tq_finish *f, finish_kind kind, int32_t half, int32_t sum) {
    if (kind == FINISH_UINT4) {
        return (uint8_t)TQ_USAT(sum >> f->shift, 4);
    }
    if (kind == FINISH_INT4) {
        /* + half + sgn(sum), where 0 may count as positive: half + 1 < 2^n. */
        const int32_t sign = sum >> 31;
        return (uint8_t)TQ_SSAT((sum + (half + 1) + 2 * sign) >> f->shift, 4);
    }
    return (uint8_t)tq_clamp(tq_round_shift(sum, f->shift, f->rounding), f->lo, f->hi);
}

TQ_INLINE void finish_pixels(const tq_finish *finish, finish_kind kind, const uint32_t *sums,
                             uint32_t count, uint32_t stride, uint8_t *outputs) {
    const tq_finish f = *finish; /* a copy: no store to outputs can change it */
    const int32_t half = kind == FINISH_INT4 ? (int32_t)(UINT32_C(1) << (f.shift - 1U)) : 0;
    for (; count >= 4U; count -= 4U) {
        const int32_t s0 = (int32_t)(sums[0] + f.even);
        const int32_t s1 = (int32_t)(sums[BLOCK] + f.odd);
        const int32_t s2 = (int32_t)(sums[2U * BLOCK] + f.even);
        const int32_t s3 = (int32_t)(sums[3U * BLOCK] + f.odd);
        outputs[0] = finish_sum(&f, kind, half, s0);
        outputs[stride] = finish_sum(&f, kind, half, s1);
        outputs[2U * stride] = finish_sum(&f, kind, half, s2);
        outputs[3U * stride] = finish_sum(&f, kind, half, s3);
        sums += 4U * BLOCK;
        outputs += 4U * stride;
    }
    uint32_t start = f.even;
    for (; count > 0; count--, sums += BLOCK, outputs += stride) {
        *outputs = finish_sum(&f, kind, half, (int32_t)(*sums + start));
        start = f.even + f.odd - start;
    }
}

static void finish_uint4(const tq_finish *f, const uint32_t *sums, uint32_t count, uint32_t stride,
                         uint8_t *outputs) {
    finish_pixels(f, FINISH_UINT4, sums, count, stride, outputs);
}

static void finish_int4(const tq_finish *f, const uint32_t *sums, uint32_t count, uint32_t stride,
                        uint8_t *outputs) {
    finish_pixels(f, FINISH_INT4, sums, count, stride, outputs);
}

static void finish_any(const tq_finish *f, const uint32_t *sums, uint32_t count, uint32_t stride,
                       uint8_t *outputs) {
    finish_pixels(f, FINISH_ANY, sums, count, stride, outputs);
}

tq_finish tq_finish_of(const tq_requant *requant, uint32_t channel) {
    const uint32_t bias = (uint32_t)requant->bias[channel];
    tq_finish f = {
        .run = finish_any,
        .even = bias,
        .odd = bias,
        .shift = requant->shift[channel * requant->shift_step],
        .lo = requant->lo,
        .hi = requant->hi,
        .rounding = requant->rounding,
    };
    if (f.rounding == TQ_ROUND_FOLDED && f.lo == 0 && f.hi == 15) {
        f.run = finish_uint4;
    }
    if (f.rounding == TQ_ROUND_TFLITE && f.shift >= 2U && f.lo == -8 && f.hi == 7) {
        f.run = finish_int4;
    }
    return f;
}
