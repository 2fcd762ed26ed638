/* SPDX-License-Identifier: Apache-2.0 */
/* Codes of a block of output channels -> the words of pairs.h. */
#include <tinyq/dsp.h>
#include <tinyq/pairs.h>

#include "inline.h"

static inline uint32_t sign_extended(uint32_t byte) {
    return (uint32_t)(int32_t)(int8_t)(uint8_t)byte;
}

void tq_words_bytes(const tq_weights *weights, uint32_t first, uint32_t count, uint32_t elements,
                    uint32_t *words) {
    const uint8_t *codes = weights->codes + first / 4 * weights->channel_bytes;
    (void)count;
    for (; elements > 0; elements--) {
        words[0] = sign_extended(codes[0]);
        words[1] = sign_extended(codes[1]);
        words[2] = sign_extended(codes[2]);
        words[3] = sign_extended(codes[3]);
        codes += 4;
        words += 4;
    }
}

void tq_words_table(const tq_weights *weights, uint32_t first, uint32_t count, uint32_t elements,
                    uint32_t *words) {
    const uint8_t *codes = weights->codes + first / 4 * weights->channel_bytes;
    const int8_t *const table = weights->table;
    (void)count;
    for (; elements > 0; elements--) {
        const uint32_t low = codes[0];
        const uint32_t high = codes[1];
        words[0] = (uint32_t)table[low & 15U];
        words[1] = (uint32_t)table[low >> 4];
        words[2] = (uint32_t)table[high & 15U];
        words[3] = (uint32_t)table[high >> 4];
        codes += 2;
        words += 4;
    }
}

void tq_lanes_nibbles(const tq_weights *weights, uint32_t first, uint32_t count, uint32_t elements,
                      uint32_t *words) {
    const uint8_t *codes = weights->codes + first / 8 * weights->channel_bytes;
    uint32_t lanes = 0x000F000FU;
    const uint32_t offset = 0x00080008U;
    (void)count;
#if defined(__GNUC__)
    __asm__("" : "+r"(lanes)); /* in a register, an AND shifts its other operand for nothing */
#endif
    for (; elements > 0; elements--) {
        const uint32_t eight = (uint32_t)codes[0] | (uint32_t)codes[1] << 8 |
                               (uint32_t)codes[2] << 16 | (uint32_t)codes[3] << 24;
        words[0] = (eight & lanes) - offset;
        words[1] = (eight >> 4 & lanes) - offset;
        words[2] = (eight >> 8 & lanes) - offset;
        words[3] = (eight >> 12 & lanes) - offset;
        codes += 4;
        words += 4;
    }
}

void tq_lanes_bytes(const tq_weights *weights, uint32_t first, uint32_t count, uint32_t elements,
                    uint32_t *words) {
    const uint8_t *codes = weights->codes + first / 8 * weights->channel_bytes;
    (void)count;
    for (; elements > 0; elements--) {
        words[0] = sign_extended(codes[0]) + (sign_extended(codes[1]) << 16);
        words[1] = sign_extended(codes[2]) + (sign_extended(codes[3]) << 16);
        words[2] = sign_extended(codes[4]) + (sign_extended(codes[5]) << 16);
        words[3] = sign_extended(codes[6]) + (sign_extended(codes[7]) << 16);
        codes += 8;
        words += 4;
    }
}

static inline uint32_t lanes_of_indices(const int8_t *table, uint32_t two) {
    return (uint32_t)table[two & 15U] + ((uint32_t)table[two >> 4] << 16);
}

void tq_lanes_table(const tq_weights *weights, uint32_t first, uint32_t count, uint32_t elements,
                    uint32_t *words) {
    const uint8_t *codes = weights->codes + first / 8 * weights->channel_bytes;
    const int8_t *const table = weights->table;
    (void)count;
    for (; elements > 0; elements--) {
        words[0] = lanes_of_indices(table, codes[0]);
        words[1] = lanes_of_indices(table, codes[1]);
        words[2] = lanes_of_indices(table, codes[2]);
        words[3] = lanes_of_indices(table, codes[3]);
        codes += 4;
        words += 4;
    }
}

/* --- any encoding: unpacked to bytes at the end of the words, then widened from the front --------
 */

ALWAYS_INLINE int8_t *unpack_block(const tq_weights *weights, tq_unpack unpack, uint32_t first,
                                   uint32_t count, uint32_t elements, uint32_t channels,
                                   uint32_t *words) {
    int8_t *const bytes = (int8_t *)words + elements * (16U - channels);
    memset(bytes, 0, elements * channels);
    for (uint32_t i = 0; i < count; i++) {
        unpack(weights, first + i, elements, bytes + i, channels);
    }
    return bytes;
}

ALWAYS_INLINE void words_of(const tq_weights *weights, tq_unpack unpack, uint32_t first,
                            uint32_t count, uint32_t elements, uint32_t *words) {
    const int8_t *bytes = unpack_block(weights, unpack, first, count, elements, 4, words);
    for (; elements > 0; elements--) {
        const int32_t w[4] = {bytes[0], bytes[1], bytes[2], bytes[3]};
        memcpy(words, w, sizeof w);
        bytes += 4;
        words += 4;
    }
}

ALWAYS_INLINE void lanes_of(const tq_weights *weights, tq_unpack unpack, uint32_t first,
                            uint32_t count, uint32_t elements, uint32_t *words) {
    const int8_t *bytes = unpack_block(weights, unpack, first, count, elements, 8, words);
    for (; elements > 0; elements--) {
        uint32_t w[4];
        for (uint32_t i = 0; i < 4; i++) {
            w[i] = (uint32_t)bytes[2 * i] + ((uint32_t)bytes[2 * i + 1] << 16);
        }
        memcpy(words, w, sizeof w);
        bytes += 8;
        words += 4;
    }
}

#define DEFINE_WORDS(encoding)                                                                     \
    void tq_words_##encoding(const tq_weights *weights, uint32_t first, uint32_t count,            \
                             uint32_t elements, uint32_t *words) {                                 \
        words_of(weights, tq_unpack_##encoding, first, count, elements, words);                    \
    }                                                                                              \
    void tq_lanes_##encoding(const tq_weights *weights, uint32_t first, uint32_t count,            \
                             uint32_t elements, uint32_t *words) {                                 \
        lanes_of(weights, tq_unpack_##encoding, first, count, elements, words);                    \
    }

DEFINE_WORDS(int8)
DEFINE_WORDS(int4)
DEFINE_WORDS(int3)
DEFINE_WORDS(int2)
DEFINE_WORDS(lut4)
DEFINE_WORDS(lut3)
DEFINE_WORDS(lut2)
DEFINE_WORDS(pot4)
DEFINE_WORDS(pot3)
DEFINE_WORDS(apot4)
DEFINE_WORDS(apot3)
