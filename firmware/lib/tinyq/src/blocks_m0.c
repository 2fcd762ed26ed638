/* SPDX-License-Identifier: Apache-2.0 */
#include <tinyq/blocks_m0.h>

#include "inline.h"

/* Images of codes of `bits` bits, read as one little-endian string of bits. */
typedef struct code_reader {
    const uint8_t *bytes;
    const int8_t *table;
    uint32_t buffer;
    uint32_t held; /* bits in buffer */
} code_reader;

ALWAYS_INLINE int32_t next_image(code_reader *reader, uint32_t bits) {
    if (reader->held < bits) {
        reader->buffer |= (uint32_t)*reader->bytes++ << reader->held;
        reader->held += 8;
    }
    const uint32_t code = reader->buffer & ((UINT32_C(1) << bits) - 1U);
    reader->buffer >>= bits;
    reader->held -= bits;
    return reader->table[code];
}

ALWAYS_INLINE void expand_plain(const void *codes, const int8_t *table, uint32_t bits,
                                uint32_t count, uint32_t *words) {
    code_reader reader = {.bytes = codes, .table = table};
    for (; count > 0; count--) {
        *words++ = (uint32_t)next_image(&reader, bits);
    }
}

ALWAYS_INLINE void expand_lanes(const void *codes, const int8_t *table, uint32_t bits,
                                uint32_t count, uint32_t *words) {
    code_reader reader = {.bytes = codes, .table = table};
    for (; count > 0; count--) {
        const uint32_t low = (uint32_t)next_image(&reader, bits);
        *words++ = low + ((uint32_t)next_image(&reader, bits) << 16);
    }
}

void tq_expand_m0_3(const void *codes, const int8_t *table, uint32_t count, uint32_t *words) {
    expand_plain(codes, table, 3, count, words);
}

void tq_expand_m0_2(const void *codes, const int8_t *table, uint32_t count, uint32_t *words) {
    expand_plain(codes, table, 2, count, words);
}

void tq_expand_m0_lanes_3(const void *codes, const int8_t *table, uint32_t count, uint32_t *words) {
    expand_lanes(codes, table, 3, count, words);
}

void tq_expand_m0_lanes_2(const void *codes, const int8_t *table, uint32_t count, uint32_t *words) {
    expand_lanes(codes, table, 2, count, words);
}

/* What {dot,whole,requantize,expand}_m0_thumb1.S have in assembly. */
#if !defined(__ARM_ARCH_6M__)

void tq_pairs_m0(const int8_t *table, int8_t *pairs) {
    for (uint32_t byte = 0; byte < 256; byte++) {
        pairs[byte] = table[byte & 15U];
        pairs[256 + byte] = table[byte >> 4];
    }
}

void tq_expand_m0_8(const void *codes, const int8_t *table, uint32_t count, uint32_t *words) {
    const int8_t *images = codes;
    (void)table;
    for (; count > 0; count--) {
        *words++ = (uint32_t)*images++;
    }
}

void tq_expand_m0_lanes_8(const void *codes, const int8_t *table, uint32_t count, uint32_t *words) {
    const int8_t *images = codes;
    (void)table;
    for (; count > 0; count--, images += 2) {
        *words++ = (uint32_t)images[0] + ((uint32_t)images[1] << 16);
    }
}

void tq_expand_m0_4(const void *codes, const int8_t *table, uint32_t count, uint32_t *words) {
    const uint8_t *bytes = codes;
    for (; count > 0; count -= 2, bytes++) {
        *words++ = (uint32_t)table[*bytes];
        *words++ = (uint32_t)table[256 + *bytes];
    }
}

void tq_expand_m0_lanes_4(const void *codes, const int8_t *table, uint32_t count, uint32_t *words) {
    const uint8_t *bytes = codes;
    for (; count > 0; count--, bytes++) {
        *words++ = (uint32_t)table[*bytes] + ((uint32_t)table[256 + *bytes] << 16);
    }
}

/* Adds the products of one window to four words. */
ALWAYS_INLINE void dot_window(const tq_run_m0 *run, const uint8_t *x, int32_t sign,
                              uint32_t sums[4]) {
    const uint32_t *words = run->words;
    for (uint32_t row = run->rows; row > 0; row--) {
        for (uint32_t i = run->length; i > 0; i--, words += 4) {
            const uint32_t value = (uint32_t)tq_read(*x++, sign);
            for (uint32_t j = 0; j < 4; j++) {
                sums[j] += value * words[j];
            }
        }
        x += row > 1 ? run->x_skip : 0;
        words += row > 1 ? run->word_skip : 0;
    }
}

ALWAYS_INLINE void dot(const tq_run_m0 *run, int32_t sign) {
    for (uint32_t pixel = 0; pixel < run->pixels; pixel++) {
        dot_window(run, run->x + pixel * run->x_step, sign, run->sums + 4 * pixel);
    }
}

ALWAYS_INLINE void dot_lanes(const tq_run_m0 *run, int32_t sign) {
    uint32_t *sums = run->sums;
    for (uint32_t pixel = 0; pixel < run->pixels; pixel++) {
        uint32_t lanes[4] = {run->start[0], run->start[1], run->start[2], run->start[3]};
        dot_window(run, run->x + pixel * run->x_step, sign, lanes);
        for (uint32_t j = 0; j < 4; j++) {
            const int32_t low = (int32_t)((lanes[j] & 0xFFFFU) ^ 0x8000U) - 0x8000;
            *sums++ += (uint32_t)low;
            *sums++ += (uint32_t)((int32_t)(lanes[j] - (uint32_t)low) >> 16);
        }
    }
}

void tq_dot_m0_u8(const tq_run_m0 *run) {
    dot(run, tq_sign_bit(0));
}

void tq_dot_m0_s8(const tq_run_m0 *run) {
    dot(run, tq_sign_bit(1));
}

void tq_dot_m0_lanes_u8(const tq_run_m0 *run) {
    dot_lanes(run, tq_sign_bit(0));
}

void tq_dot_m0_lanes_s8(const tq_run_m0 *run) {
    dot_lanes(run, tq_sign_bit(1));
}

/* Requantizes the sums of a window. */
ALWAYS_INLINE void finish(const tq_run_m0 *run, uint32_t pixel, uint32_t count,
                          const uint32_t *sums) {
    uint8_t *const outputs = run->outputs + pixel * run->output_step;
    for (uint32_t i = 0; i < count; i++) {
        const int32_t sum = (int32_t)(sums[i] + (uint32_t)run->base[i]);
        outputs[i] =
            (uint8_t)(run->lo + tq_clamp((sum >> run->shift[i]) + run->span, 0, run->span));
    }
}

ALWAYS_INLINE void run_whole(const tq_run_m0 *run, int32_t sign) {
    for (uint32_t pixel = 0; pixel < run->pixels; pixel++) {
        uint32_t sums[4] = {0, 0, 0, 0};
        dot_window(run, run->x + pixel * run->x_step, sign, sums);
        finish(run, pixel, 4, sums);
    }
}

ALWAYS_INLINE void run_whole_lanes(const tq_run_m0 *run, int32_t sign) {
    tq_run_m0 one = *run;
    one.pixels = 1;
    for (uint32_t pixel = 0; pixel < run->pixels; pixel++) {
        uint32_t sums[8] = {0, 0, 0, 0, 0, 0, 0, 0};
        one.x = run->x + pixel * run->x_step;
        one.sums = sums;
        dot_lanes(&one, sign);
        finish(run, pixel, 8, sums);
    }
}

void tq_whole_m0_u8(const tq_run_m0 *run) {
    run_whole(run, tq_sign_bit(0));
}

void tq_whole_m0_s8(const tq_run_m0 *run) {
    run_whole(run, tq_sign_bit(1));
}

void tq_whole_m0_lanes_u8(const tq_run_m0 *run) {
    run_whole_lanes(run, tq_sign_bit(0));
}

void tq_whole_m0_lanes_s8(const tq_run_m0 *run) {
    run_whole_lanes(run, tq_sign_bit(1));
}

static uint8_t clamp_shifted(const tq_column_m0 *column, int32_t sum) {
    return (uint8_t)(column->lo + tq_clamp((sum >> column->shift) + column->span, 0, column->span));
}

void tq_requantize_m0(const tq_column_m0 *column) {
    for (uint32_t i = 0; i < column->count; i++) {
        const int32_t sum = (int32_t)column->sums[i * column->sum_step];
        column->outputs[i * column->output_step] = clamp_shifted(column, sum);
    }
}

void tq_requantize_m0_tflite(const tq_column_m0 *column) {
    for (uint32_t i = 0; i < column->count; i++) {
        const int32_t acc = (int32_t)column->sums[i * column->sum_step];
        const int32_t sum = acc - (acc < 0 ? 2 : 0) + column->round;
        column->outputs[i * column->output_step] = clamp_shifted(column, sum);
    }
}

void tq_requantize_m0_row(const tq_requant_m0 *requant, uint32_t first, uint32_t count,
                          const uint32_t *sums, uint8_t *outputs) {
    for (uint32_t i = 0; i < count; i++) {
        tq_column_m0 column = tq_column_of(requant, first + i);
        column.sums = sums + i;
        column.outputs = outputs + i;
        column.count = 1;
        tq_run_column(requant, &column);
    }
}

#endif
