/* SPDX-License-Identifier: Apache-2.0 */
#include "packed_sums.h"

/* Each kind has registers of its own. */
#if defined(__GNUC__)
#define NOINLINE __attribute__((noinline))
#else
#define NOINLINE
#endif

/* The common cases have code of their own. */
typedef enum finish_kind {
    FINISH_UINT4, /* folded rounding, outputs 0..15 */
    FINISH_INT4,  /* the TFLite rule with n >= 2, outputs -8..7 */
    FINISH_ANY
} finish_kind;

static finish_kind kind_of(const tq_finish *f) {
    if (f->rounding == TQ_ROUND_FOLDED && f->lo == 0 && f->hi == 15) {
        return FINISH_UINT4;
    }
    const int is_int4 = f->lo == -8 && f->hi == 7;
    return f->rounding == TQ_ROUND_TFLITE && f->shift >= 2U && is_int4 ? FINISH_INT4 : FINISH_ANY;
}

/* h = 2^(n-1), of FINISH_INT4 alone. */
TQ_INLINE int32_t half_of(const tq_finish *f) {
    return (int32_t)(UINT32_C(1) << (f->shift - 1U));
}

/* The output for a finished sum. */
TQ_INLINE uint8_t finish_sum(const tq_finish *f, finish_kind kind, int32_t half, int32_t sum) {
    if (kind == FINISH_UINT4) {
        return (uint8_t)TQ_USAT(sum >> f->shift, 4);
    }
    if (kind == FINISH_INT4) {
        /* + h + sgn(sum), where 0 may count as positive: h + 1 < 2^n. */
        const int32_t sign = sum >> 31;
        return (uint8_t)TQ_SSAT((sum + (half + 1) + 2 * sign) >> f->shift, 4);
    }
    return (uint8_t)tq_clamp(tq_round_shift(sum, f->shift, f->rounding), f->lo, f->hi);
}

TQ_INLINE void finish_each(const tq_finish *finish, finish_kind kind, const uint32_t *sums,
                           uint32_t step, uint32_t count, uint32_t stride, uint8_t *outputs) {
    const tq_finish f = *finish; /* a copy: no store to outputs can change it */
    const uint32_t start = f.start;
    const int32_t half = kind == FINISH_INT4 ? half_of(&f) : 0;
    for (; count >= 4U; count -= 4U) {
        const int32_t s0 = (int32_t)(sums[0] + start);
        const int32_t s1 = (int32_t)(sums[step] + start);
        const int32_t s2 = (int32_t)(sums[2U * step] + start);
        const int32_t s3 = (int32_t)(sums[3U * step] + start);
        outputs[0] = finish_sum(&f, kind, half, s0);
        outputs[stride] = finish_sum(&f, kind, half, s1);
        outputs[2U * stride] = finish_sum(&f, kind, half, s2);
        outputs[3U * stride] = finish_sum(&f, kind, half, s3);
        sums += 4U * step;
        outputs += 4U * stride;
    }
    for (; count > 0; count--, sums += step, outputs += stride) {
        *outputs = finish_sum(&f, kind, half, (int32_t)(*sums + start));
    }
}

static NOINLINE void finish_uint4(const tq_finish *f, const uint32_t *sums, uint32_t step,
                                  uint32_t count, uint32_t stride, uint8_t *outputs) {
    finish_each(f, FINISH_UINT4, sums, step, count, stride, outputs);
}

static NOINLINE void finish_int4(const tq_finish *f, const uint32_t *sums, uint32_t step,
                                 uint32_t count, uint32_t stride, uint8_t *outputs) {
    finish_each(f, FINISH_INT4, sums, step, count, stride, outputs);
}

static NOINLINE void finish_any(const tq_finish *f, const uint32_t *sums, uint32_t step,
                                uint32_t count, uint32_t stride, uint8_t *outputs) {
    finish_each(f, FINISH_ANY, sums, step, count, stride, outputs);
}

void tq_finish_pixels(const tq_finish *f, const uint32_t *sums, uint32_t step, uint32_t count,
                      uint32_t stride, uint8_t *outputs) {
    const finish_kind kind = kind_of(f);
    if (kind == FINISH_UINT4) {
        finish_uint4(f, sums, step, count, stride, outputs);
    } else if (kind == FINISH_INT4) {
        finish_int4(f, sums, step, count, stride, outputs);
    } else {
        finish_any(f, sums, step, count, stride, outputs);
    }
}
