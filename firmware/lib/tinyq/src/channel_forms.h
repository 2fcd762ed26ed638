/* SPDX-License-Identifier: Apache-2.0 */
/* Private to src/: accumulators of one channel -> output bytes, for kernels that keep a channel's
 * shift at hand and know the clamp at compile time. */
#ifndef TINYQ_CHANNEL_FORMS_H
#define TINYQ_CHANNEL_FORMS_H

#include <tinyq/arith.h>
#include <tinyq/dsp.h>

#include "inline.h"

/* How an accumulator becomes an output: U8 and S8 clamp to the type, FOLDED and TFLITE to any
 * lo..hi; the names with TFLITE round as TQ_ROUND_TFLITE does, the others as TQ_ROUND_FOLDED.
 * TFLITE_S8 is for shifts of 2 and more. */
typedef enum form { U8, S8, TFLITE_S8, FOLDED, TFLITE } form;

/* Constants of a channel: out = clamp((acc + add + (acc < 0 ? less : 0)) >> n), where only the
 * forms with TFLITE add anything. */
typedef struct channel {
    uint32_t n;
    int32_t add;
    int32_t less;
    int32_t lo;
    int32_t hi;
} channel;

/* n: 0..31. */
static inline channel make_channel(uint32_t n, int32_t lo, int32_t hi) {
    channel c = {n, 0, 0, lo, hi};
    /* TQ_ROUND_TFLITE: n = 0: acc;  n = 1: acc + 1;  n >= 2: acc + 2^(n-1) + sgn(acc), where acc =
     * 0 may count as positive. */
    if (n > 0) {
        c.add = (int32_t)(UINT32_C(1) << (n - 1)) + (n > 1);
        c.less = n > 1 ? -2 : 0;
    }
    return c;
}

ALWAYS_INLINE uint8_t requantized(int32_t acc, channel c, form form) {
    if (form == TFLITE_S8) {
        acc = (acc + 2 * (acc >> 31) + c.add) >> c.n;
    } else if (form == TFLITE) {
        acc = (acc + ((acc >> 31) & c.less) + c.add) >> c.n;
    } else {
        acc >>= c.n;
    }
    if (form == U8) {
        return (uint8_t)TQ_USAT(acc, 8);
    }
    if (form == S8 || form == TFLITE_S8) {
        return (uint8_t)TQ_SSAT(acc, 8);
    }
    return (uint8_t)tq_clamp(acc, c.lo, c.hi);
}

/* --- lanes: even + odd * 2^16 modulo 2^32, both within 16 bits -----------------------------------
 */

/* The even lane's accumulator. */
ALWAYS_INLINE int32_t even_lane(uint32_t lanes) {
    return tq_low(lanes);
}

/* The odd lane's accumulator as requantized() wants it with a channel from odd_channel(): where
 * nothing is added to it, it stays in the high half and is shifted once. */
ALWAYS_INLINE int32_t odd_lane(uint32_t lanes, form form) {
    const int32_t high = (int32_t)(lanes - (uint32_t)tq_low(lanes));
    return form == TFLITE_S8 || form == TFLITE ? high >> 16 : high;
}

static inline channel odd_channel(channel c, form form) {
    if (form != TFLITE_S8 && form != TFLITE) {
        c.n = c.n < 15 ? c.n + 16 : 31; /* of 16 bits, nothing but the sign is left after 15 */
    }
    return c;
}

#endif
