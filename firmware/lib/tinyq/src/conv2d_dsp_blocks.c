/* SPDX-License-Identifier: Apache-2.0 */
/* The inner loop in C: what conv2d_dsp_m4.S does on cores with the DSP extension. */
#include <tinyq/conv2d_dsp.h>

#include <tinyq/dsp.h>

#include <stddef.h>
#include <string.h>

#include "dsp_assembly.h"

#if !TQ_DSP_ASSEMBLY

/* Without it GCC loads all words of the unrolled loop first, and runs out of registers. */
#if defined(__GNUC__)
#define KEEP_ORDER() __asm__ volatile("" : : : "memory")
#else
#define KEEP_ORDER() (void)0
#endif

/* Two taps: 16 products. Channels 1 and 3 of `sums` collect 256 times theirs and, on top, those of
 * channels 0 and 2. */
#define ADD_TWO_TAPS(at)                                                                           \
    do {                                                                                           \
        const uint32_t x = tq_load32(first + 2 * (at));                                            \
        const uint32_t y = tq_load32(second + 2 * (at));                                           \
        uint32_t w = weights[2 * (at)];                                                            \
        a1 = tq_smlad(x, w, a1);                                                                   \
        b1 = tq_smlad(y, w, b1);                                                                   \
        w = tq_sxtb16(w);                                                                          \
        a0 = tq_smlad(x, w, a0);                                                                   \
        b0 = tq_smlad(y, w, b0);                                                                   \
        w = weights[2 * (at) + 1];                                                                 \
        a3 = tq_smlad(x, w, a3);                                                                   \
        b3 = tq_smlad(y, w, b3);                                                                   \
        w = tq_sxtb16(w);                                                                          \
        a2 = tq_smlad(x, w, a2);                                                                   \
        b2 = tq_smlad(y, w, b2);                                                                   \
        KEEP_ORDER();                                                                              \
    } while (0)

/* One block; returns the next one's weights. */
TQ_INLINE const uint32_t *sum_block(const tq_dsp_blocks *work, const uint32_t *weights,
                                    const int32_t *starts, const int16_t *first,
                                    const int16_t *second, int32_t *sums) {
    uint32_t a0 = (uint32_t)starts[0], a1 = (uint32_t)starts[1];
    uint32_t a2 = (uint32_t)starts[2], a3 = (uint32_t)starts[3];
    uint32_t b0 = a0, b1 = a1, b2 = a2, b3 = a3;
    const int32_t length = (int32_t)(2U * work->words);
    const int32_t gap = (int32_t)(work->pitch / 2U) - length;
    for (uint32_t left = work->segments; left > 0; left--) {
        const int16_t *const end = first + length;
        while (end - first >= 16) {
            ADD_TWO_TAPS(0);
            ADD_TWO_TAPS(1);
            ADD_TWO_TAPS(2);
            ADD_TWO_TAPS(3);
            ADD_TWO_TAPS(4);
            ADD_TWO_TAPS(5);
            ADD_TWO_TAPS(6);
            ADD_TWO_TAPS(7);
            first += 16;
            second += 16;
            weights += 16;
        }
        while (first != end) {
            ADD_TWO_TAPS(0);
            first += 2;
            second += 2;
            weights += 2;
        }
        if (left > 1) {
            first += gap;
            second += gap;
        }
    }
    const uint32_t found[TQ_DSP_SUMS] = {a0, a1 - a0, a2, a3 - a2, b0, b1 - b0, b2, b3 - b2};
    for (uint32_t i = 0; i < TQ_DSP_SUMS; i++) {
        sums[i] = (int32_t)found[i];
    }
    return weights;
}

void tq_dsp_prepare(tq_dsp_blocks *work) {
    (void)work;
}

void tq_dsp_sums(const tq_dsp_blocks *work, const int16_t *first, const int16_t *second,
                 int32_t *sums) {
    const uint32_t *weights = work->weights;
    const int32_t *starts = work->starts;
    for (uint32_t left = work->blocks; left > 0; left--) {
        weights = sum_block(work, weights, starts, first, second, sums);
        starts += TQ_DSP_STARTS;
        sums += TQ_DSP_SUMS;
    }
}

/* What follows a sum. */
enum { PASS_U8, PASS_S8, PASS_TFLITE_S8, PASS_ADD_U8, PASS_ADD_S8 };

/* A sum of channel 0..3 of a block, rounded, shifted and clamped. */
TQ_INLINE int32_t end_sum(int32_t sum, const int32_t *starts, uint32_t channel, int kind) {
    const int32_t two = channel % 2U == 0 ? 2 : 512; /* of the sum's unit */
    if (kind >= PASS_TFLITE_S8) {
        sum += ~(sum >> 31) & two;
    }
    sum >>= tq_dsp_shift(starts, channel);
    return kind == PASS_U8 ? TQ_USAT(sum, 8) : TQ_SSAT(sum, 8);
}

/* Four channels of a pixel, from its four sums. */
TQ_INLINE void end_pixel(const tq_dsp_blocks *work, const int32_t *starts, const int32_t *sums,
                         const uint8_t *others, uint8_t *bytes, int kind) {
    for (uint32_t i = 0; i < 4; i++) {
        int32_t value = end_sum(sums[i], starts, i, kind);
        if (kind >= PASS_ADD_U8) {
            const int32_t other = tq_read(others[i], tq_sign_bit(kind == PASS_ADD_S8));
            value = value * work->factors[0] + other * work->factors[1] + 0x8000;
            value = TQ_USAT(value >> 16, 8);
        }
        bytes[i] = (uint8_t)value;
    }
}

TQ_INLINE void pass(const tq_dsp_blocks *work, const int16_t *first, const int16_t *second,
                    const tq_dsp_pixels *pixels, int kind) {
    const uint32_t *weights = work->weights;
    const int32_t *starts = work->starts;
    for (uint32_t at = 0; at < 4 * work->blocks; at += 4) {
        const uint8_t *const first_other = kind >= PASS_ADD_U8 ? pixels->others[0] + at : NULL;
        const uint8_t *const second_other = kind >= PASS_ADD_U8 ? pixels->others[1] + at : NULL;
        int32_t sums[TQ_DSP_SUMS];
        uint8_t bytes[TQ_DSP_SUMS]; /* complete before one is stored: pixels may be the same */
        weights = sum_block(work, weights, starts, first, second, sums);
        end_pixel(work, starts, sums, first_other, bytes, kind);
        end_pixel(work, starts, sums + 4, second_other, bytes + 4, kind);
        memcpy(pixels->outputs[0] + at, bytes, 4);
        memcpy(pixels->outputs[1] + at, bytes + 4, 4);
        starts += TQ_DSP_STARTS;
    }
}

TQ_DSP_DECLARE_PASS(u8) {
    pass(work, first, second, pixels, PASS_U8);
}

TQ_DSP_DECLARE_PASS(s8) {
    pass(work, first, second, pixels, PASS_S8);
}

TQ_DSP_DECLARE_PASS(tflite_s8) {
    pass(work, first, second, pixels, PASS_TFLITE_S8);
}

TQ_DSP_DECLARE_PASS(add_u8) {
    pass(work, first, second, pixels, PASS_ADD_U8);
}

TQ_DSP_DECLARE_PASS(add_s8) {
    pass(work, first, second, pixels, PASS_ADD_S8);
}

#else

/* The offsets that the assembly knows. */
typedef char tq_assert_dsp_blocks
    [offsetof(tq_dsp_blocks, starts) == 4 && offsetof(tq_dsp_blocks, blocks) == 8 &&
             offsetof(tq_dsp_blocks, segments) == 12 && offsetof(tq_dsp_blocks, words) == 16 &&
             offsetof(tq_dsp_blocks, pitch) == 20 && offsetof(tq_dsp_blocks, own) == 24 &&
             offsetof(tq_dsp_blocks, factors) == 56
         ? 1
         : -1];

#endif
