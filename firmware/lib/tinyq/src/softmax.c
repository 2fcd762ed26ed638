/* SPDX-License-Identifier: Apache-2.0 */
/*
 * y = exp(x - max) / sum exp(x - max), in fixed point. Notation: Qi.f has i integer and f fraction
 * bits beside the sign, i + f = 31. The table holds the exponentials in Q0.31; they are summed in
 * Q12.19; the sum's mantissa 1 + m in [1, 2) is inverted by Newton's method in Q2.29; the quotient
 * is rounded to 8 fraction bits. Every rounding is TensorFlow Lite's, hence the same integers.
 */
#include <tinyq/softmax.h>

#include <tinyq/arith.h>

enum { SUM_INTEGER_BITS = 12, OUTPUT_FRACTION_BITS = 8 };

/* x / 2^n, half away from zero. n: 0..31. */
static int32_t divide_by_power(int32_t x, uint32_t n) {
    const int32_t mask = (int32_t)((UINT32_C(1) << n) - 1U);
    const int32_t remainder = x & mask;
    const int32_t threshold = (mask >> 1) + (x < 0);
    return (x >> n) + (remainder > threshold);
}

/* a * b / 2^31, half away from zero. At least one of them is not INT32_MIN. */
static int32_t multiply_high(int32_t a, int32_t b) {
    const int64_t product = (int64_t)a * b;
    const int64_t nudge = product >= 0 ? INT64_C(1) << 30 : 1 - (INT64_C(1) << 30);
    const int64_t sum = product + nudge;
    /* Division truncates toward zero; without 64-bit division: */
    return (int32_t)((sum < 0 ? sum + (INT64_C(1) << 31) - 1 : sum) >> 31);
}

/* x * 2^n, saturating. */
static int32_t shift_left_saturating(int32_t x, uint32_t n) {
    const int32_t limit = INT32_MAX >> n;
    if (x > limit) {
        return INT32_MAX;
    }
    if (x < -limit - 1) {
        return INT32_MIN;
    }
    return (int32_t)((uint32_t)x << n);
}

/* 1 / (1 + m), m and the result in Q0.31, m in [0, 1). Three Newton steps x += x * (1 - d * x)
 * towards 1 / d, d = (1 + m) / 2, from the linear estimate 48/17 - 32/17 * d. */
static int32_t reciprocal_of_one_plus(int32_t m) {
    const int32_t d = (int32_t)(((int64_t)m + INT32_MAX + 1) / 2);
    int32_t x = 1515870810 + multiply_high(d, -1010580540); /* Q2.29: 48/17, -32/17 */
    for (int i = 0; i < 3; i++) {
        const int32_t error = (INT32_C(1) << 29) - multiply_high(d, x);
        x += shift_left_saturating(multiply_high(x, error), 2);
    }
    return shift_left_saturating(x, 1);
}

static uint32_t count_leading_zeros(uint32_t x) {
    uint32_t zeros = 0;
    for (; x < UINT32_C(0x80000000); x <<= 1) {
        zeros++;
    }
    return zeros;
}

static int32_t greatest_of(const uint8_t *row, uint32_t count, int32_t sign) {
    int32_t greatest = tq_read(row[0], sign);
    for (uint32_t i = 1; i < count; i++) {
        const int32_t q = tq_read(row[i], sign);
        greatest = q > greatest ? q : greatest;
    }
    return greatest;
}

static void run_row(const tq_softmax *layer, const uint8_t *row, uint8_t *out) {
    const int32_t sign = tq_sign_bit(layer->input_signed);
    const int32_t greatest = greatest_of(row, layer->classes, sign);

    int32_t sum = 0;
    for (uint32_t i = 0; i < layer->classes; i++) {
        const uint32_t diff = (uint32_t)(greatest - tq_read(row[i], sign));
        if (diff < layer->exp_count) {
            sum += divide_by_power(layer->exps[diff], SUM_INTEGER_BITS);
        }
    }

    /* sum = (1 + m) * 2^bits_over_unit */
    const uint32_t zeros = count_leading_zeros((uint32_t)sum);
    const int32_t m = (int32_t)(((uint32_t)sum << zeros) - UINT32_C(0x80000000));
    const int32_t scale = reciprocal_of_one_plus(m);
    const uint32_t shift = SUM_INTEGER_BITS - zeros + 31 - OUTPUT_FRACTION_BITS;

    for (uint32_t i = 0; i < layer->classes; i++) {
        const uint32_t diff = (uint32_t)(greatest - tq_read(row[i], sign));
        int32_t y = 0; /* also where shift > 31: less than half a unit */
        if (diff < layer->exp_count && shift <= 31) {
            y = divide_by_power(multiply_high(scale, layer->exps[diff]), shift);
        }
        out[i] = (uint8_t)tq_clamp(y, 0, UINT8_MAX);
    }
}

void tq_run_softmax(const tq_softmax *layer, const void *input, void *output) {
    const uint8_t *row = input;
    uint8_t *out = output;
    for (uint32_t rows = layer->rows; rows > 0; rows--) {
        run_row(layer, row, out);
        row += layer->classes;
        out += layer->classes;
    }
}
