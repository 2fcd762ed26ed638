/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Integer arithmetic of every kernel: rounding shifts, clamping, requantization.
 *
 * real value = q * 2^e. A layer's accumulator has exponent e_x + e_w; its output has e_out; the
 * shift n = e_out - (e_x + e_w) is 0..31 (the exporter refuses anything else). The same formulas in
 * Python: tinyq/numerics.py.
 *
 * No function here can overflow as long as |acc| + 2^(n-1) + 1 < 2^31, which the exporter proves
 * for every output channel of every layer, for every input and every order of summation.
 */
#ifndef TINYQ_ARITH_H
#define TINYQ_ARITH_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Right shifts of negative numbers must be arithmetic (implementation-defined in C). */
typedef char tq_assert_arithmetic_shift[((-3) >> 1) == -2 ? 1 : -1];

/* How a layer's accumulator is rounded when it is shifted right by n. h = 2^(n-1). */
typedef enum tq_rounding {
    /* acc >> n. The exporter added the rounding constant to the bias: always possible when the
     * output is clamped at lo >= 0 (ReLU), and for the half-up rule. */
    TQ_ROUND_FOLDED = 0,
    /* n = 0: acc;  n = 1: (acc + 1) >> 1;  n >= 2: (acc + h + sgn(acc)) >> n. */
    TQ_ROUND_TFLITE = 1
} tq_rounding;

/* From accumulators to output integers, per output channel. */
typedef struct tq_requant {
    const int32_t *bias;  /* [channels] start of each accumulator, in units of 2^(e_x + e_w) */
    const uint8_t *shift; /* [channels] or [1]: n, 0..31 */
    uint8_t shift_step;   /* 1: shift holds one entry per channel; 0: one entry for all */
    uint8_t rounding;     /* a tq_rounding */
    int16_t lo;           /* smallest output, -128..255 */
    int16_t hi;           /* greatest output, lo..255; an int8 tensor stays within -128..127 */
} tq_requant;

static inline int32_t tq_clamp(int32_t value, int32_t lo, int32_t hi) {
    if (value < lo) {
        value = lo;
    }
    if (value > hi) {
        value = hi;
    }
    return value;
}

/* 128 for a signed (int8) tensor, 0 for an unsigned one: the `sign` argument of tq_read. */
static inline int32_t tq_sign_bit(int is_signed) {
    return is_signed ? 128 : 0;
}

/* The value of a tensor's byte: sign = 128 reads it as int8, sign = 0 as uint8. */
static inline int32_t tq_read(uint8_t byte, int32_t sign) {
    return ((int32_t)byte ^ sign) - sign;
}

/* TQ_ROUND_TFLITE. n: 0..31. */
static inline int32_t tq_round_shift_tflite(int32_t acc, uint32_t n) {
    if (n == 0) {
        return acc;
    }
    const int32_t half = (int32_t)(UINT32_C(1) << (n - 1));
    if (n == 1) {
        return (acc + half) >> 1;
    }
    return (acc + half + (acc > 0) - (acc < 0)) >> n;
}

/* Half away from zero, the rule of additions: sgn(acc) * ((|acc| + h) >> n). n: 0..31. */
static inline int32_t tq_round_shift_away(int32_t acc, uint32_t n) {
    if (n == 0) {
        return acc;
    }
    const int32_t half = (int32_t)(UINT32_C(1) << (n - 1));
    return acc < 0 ? -((half - acc) >> n) : (acc + half) >> n;
}

/* t / count rounded half away from zero, the rule of averages. count: >= 1; |t| <= 128 * count;
 * count <= 2^22. */
static inline int32_t tq_divide_away(int32_t t, uint32_t count) {
    const uint32_t magnitude = (uint32_t)(t < 0 ? -t : t);
    const int32_t quotient = (int32_t)((2 * magnitude + count) / (2 * count));
    return t < 0 ? -quotient : quotient;
}

/* n: 0..31. */
static inline int32_t tq_round_shift(int32_t acc, uint32_t n, uint8_t rounding) {
    return rounding == TQ_ROUND_FOLDED ? acc >> n : tq_round_shift_tflite(acc, n);
}

/* The bias of channels first..first+count-1: where their accumulators start. */
static inline void tq_start_sums(const tq_requant *requant, uint32_t first, uint32_t count,
                                 int32_t *sums) {
    const int32_t *bias = requant->bias + first;
    for (; count > 0; count--) {
        *sums++ = *bias++;
    }
}

/* Rounds, shifts and clamps the finished accumulators of channels first..first+count-1 (bias
 * included) into outputs[0..count-1], bytes that are int8 or uint8 as lo and hi say. */
void tq_requantize(const tq_requant *requant, uint32_t first, uint32_t count, const int32_t *sums,
                   uint8_t *outputs);

#ifdef __cplusplus
}
#endif

#endif
