/* SPDX-License-Identifier: Apache-2.0 */
/* Private to src/: bytes of activations, widened to words of two 16-bit lanes. */
#ifndef TINYQ_DSP_WORDS_H
#define TINYQ_DSP_WORDS_H

#include <tinyq/arith.h>
#include <tinyq/dsp.h>

TQ_INLINE void store_word(void *to, uint32_t word) {
    memcpy(to, &word, sizeof word);
}

/* Elements 0 and 2, and elements 1 and 3, of four bytes. */
TQ_INLINE uint32_t widen_even(uint32_t bytes, int is_signed) {
    return is_signed ? tq_sxtb16(bytes) : tq_uxtb16(bytes);
}

TQ_INLINE uint32_t widen_odd(uint32_t bytes, int is_signed) {
    return is_signed ? tq_sxtb16_ror8(bytes) : tq_uxtb16_ror8(bytes);
}

/* Four elements; in their order, or as SXTB16 gives them: 0, 2, 1, 3. */
TQ_INLINE void widen_four(const uint8_t *from, int16_t *to, int is_signed, int in_order) {
    const uint32_t bytes = tq_load32(from);
    const uint32_t even = widen_even(bytes, is_signed);
    const uint32_t odd = widen_odd(bytes, is_signed);
    store_word(to, in_order ? tq_pkhbt(even, odd) : even);
    store_word(to + 2, in_order ? tq_pkhtb(even, odd) : odd);
}

/* count elements; the last count % 4 in their order in any case. Returns the end. */
TQ_INLINE int16_t *widen(const uint8_t *from, uint32_t count, int16_t *to, int is_signed,
                         int in_order) {
    for (; count >= 16; count -= 16) {
        widen_four(from, to, is_signed, in_order);
        widen_four(from + 4, to + 4, is_signed, in_order);
        widen_four(from + 8, to + 8, is_signed, in_order);
        widen_four(from + 12, to + 12, is_signed, in_order);
        from += 16;
        to += 16;
    }
    for (; count >= 4; count -= 4) {
        widen_four(from, to, is_signed, in_order);
        from += 4;
        to += 4;
    }
    for (; count > 0; count--) {
        *to++ = (int16_t)tq_read(*from++, tq_sign_bit(is_signed));
    }
    return to;
}

#endif
