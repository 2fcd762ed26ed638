/* SPDX-License-Identifier: Apache-2.0 */
#include <tinyq/conv2d_dsp.h>

#include <tinyq/dsp.h>

void tq_dsp_make_table(const int8_t *levels, uint32_t bits, uint16_t *table) {
    const uint32_t count = UINT32_C(1) << bits;
    for (uint32_t b = 0; b < count; b++) {
        const int32_t high = levels[b] * 256;
        for (uint32_t a = 0; a < count; a++) {
            *table++ = (uint16_t)(high + levels[a]);
        }
    }
}

/* Eight codes of `bits` bits. */
TQ_INLINE uint32_t load_codes(const uint8_t *codes, uint32_t bits) {
    if (bits == 4) {
        return tq_load32(codes);
    }
    const uint32_t low = codes[0] | (uint32_t)codes[1] << 8;
    return bits == 3 ? low | (uint32_t)codes[2] << 16 : low;
}

TQ_INLINE void expand(const uint8_t *codes, uint32_t count, const uint16_t *table, uint32_t *to,
                      uint32_t bits) {
    const uint32_t pair = 2 * bits;
    const uint32_t mask = (UINT32_C(1) << pair) - 1U;
    for (; count > 0; count--) {
        const uint32_t word = load_codes(codes, bits);
        const uint32_t taps[4] = {table[word & mask], table[word >> pair & mask],
                                  table[word >> 2 * pair & mask], table[word >> 3 * pair & mask]};
        to[0] = tq_pkhbt(taps[0], taps[1]);
        to[1] = tq_pkhbt(taps[2], taps[3]);
        codes += bits;
        to += 2;
    }
}

void tq_dsp_expand_4(const uint8_t *codes, uint32_t count, const uint16_t *table, uint32_t *to) {
    expand(codes, count, table, to, 4);
}

void tq_dsp_expand_3(const uint8_t *codes, uint32_t count, const uint16_t *table, uint32_t *to) {
    expand(codes, count, table, to, 3);
}

void tq_dsp_expand_2(const uint8_t *codes, uint32_t count, const uint16_t *table, uint32_t *to) {
    expand(codes, count, table, to, 2);
}
