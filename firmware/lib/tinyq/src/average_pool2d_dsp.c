/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All bytes count as u = q - zero + 128, 0..255, so that one rule serves both types. With U the sum
 * of the c elements' u, the average of q - zero rounded half away from zero, plus 128, is
 *
 *     (2 * U + c - [U < 128 * c]) div (2 * c)
 *
 * since the numerator is a multiple of 2 * c where the average is half way between two integers,
 * and one less there, below zero, is the integer farther from it. Division by 2 * c is
 * multiplication by r = ceil(2^31 / c) and a shift by 32 bits: with r = (2^31 + e) / c, e < c, the
 * product is n / (2 * c) and n * e / (2^32 * c) < 2^-14 more for numerators n < 2^18, less than the
 * 1 / (2 * c) that lie at least between n / (2 * c) and the next integer.
 */
#include <tinyq/average_pool2d_dsp.h>

#include "pool_blocks.h"

/* What turns the sums of a window into bytes. */
typedef struct pool_means {
    uint32_t count;
    uint32_t middle;     /* 128 * count */
    uint32_t reciprocal; /* ceil(2^31 / count) */
    uint32_t lo;         /* smallest and greatest u, in all bytes */
    uint32_t hi;
} pool_means;

TQ_INLINE uint32_t mean_of(const pool_means *means, uint32_t sum) {
    const int32_t below = (int32_t)(sum - means->middle) >> 31; /* -1 or 0 */
    const uint32_t numerator = 2 * sum + means->count + (uint32_t)below;
    return (uint32_t)((uint64_t)numerator * means->reciprocal >> 32);
}

/* even, odd: sums of bytes 0 and 2 of four channels, and of 1 and 3. */
TQ_INLINE uint32_t means_of(const pool_means *means, uint32_t even, uint32_t odd) {
    const uint32_t low = mean_of(means, even & 0xFFFFU) | mean_of(means, odd & 0xFFFFU) << 8;
    const uint32_t high = mean_of(means, even >> 16) | mean_of(means, odd >> 16) << 8;
    return tq_min_u8x4(tq_max_u8x4(low | high << 16, means->lo), means->hi);
}

TQ_INLINE uint32_t add_even(uint32_t sums, uint32_t bytes, int is_signed) {
    return is_signed ? tq_sxtab16(sums, bytes) : tq_uxtab16(sums, bytes);
}

TQ_INLINE uint32_t add_odd(uint32_t sums, uint32_t bytes, int is_signed) {
    return is_signed ? tq_sxtab16_ror8(sums, bytes) : tq_uxtab16_ror8(sums, bytes);
}

/* A pool_block. */
TQ_INLINE void mean_block(const pool_means *means, const tq_pool_window *window, uint32_t words,
                          int is_signed, uint8_t *out) {
    const tq_pool_window w = *window;
    const uint32_t start = is_signed ? 0x00010001U * means->middle : 0; /* u = q + 128 */
    const uint32_t flip = is_signed ? 0x80808080U : 0;
    uint32_t sums[4] = {start, start, start, start};
    const uint8_t *p = w.corner;
    uint32_t rows = w.rows;
    do {
        uint32_t cols = w.cols;
        do {
            const uint32_t first = tq_load32(p);
            sums[0] = add_even(sums[0], first, is_signed);
            sums[1] = add_odd(sums[1], first, is_signed);
            if (words > 1) {
                const uint32_t second = tq_load32(p + 4);
                sums[2] = add_even(sums[2], second, is_signed);
                sums[3] = add_odd(sums[3], second, is_signed);
            }
            p += w.channels;
        } while (--cols > 0);
        p += w.row_skip;
    } while (--rows > 0);
    for (uint32_t i = 0; i < words; i++) {
        tq_store32(out + 4 * i, means_of(means, sums[2 * i], sums[2 * i + 1]) ^ flip);
    }
}

TQ_INLINE void mean_unsigned(const void *context, const tq_pool_window *window, uint32_t words,
                             uint8_t *out) {
    mean_block(context, window, words, 0, out);
}

TQ_INLINE void mean_signed(const void *context, const tq_pool_window *window, uint32_t words,
                           uint8_t *out) {
    mean_block(context, window, words, 1, out);
}

/* zero: what is added to a code to make it u. */
TQ_INLINE pool_means means_for(const tq_pool_dsp *layer, const tq_pool_window *window,
                               int32_t zero) {
    const uint32_t count = window->rows * window->cols;
    return (pool_means){
        .count = count,
        .middle = 128 * count,
        .reciprocal = (UINT32_C(0x7FFFFFFF) + count) / count,
        .lo = 0x01010101U * (uint32_t)(layer->lo + zero),
        .hi = 0x01010101U * (uint32_t)(layer->hi + zero),
    };
}

void tq_mean_window_u8(const tq_pool_dsp *layer, const tq_pool_window *window, uint8_t *out) {
    const pool_means means = means_for(layer, window, 0);
    pool_channels(&means, window, out, mean_unsigned);
}

void tq_mean_window_s8(const tq_pool_dsp *layer, const tq_pool_window *window, uint8_t *out) {
    const pool_means means = means_for(layer, window, 128);
    pool_channels(&means, window, out, mean_signed);
}

void tq_run_average_pool2d_dsp(const tq_average_pool2d_dsp *layer, const void *input,
                               void *output) {
    tq_pool_windows(layer, input, output);
}
