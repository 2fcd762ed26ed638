/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inner loops of convolutions on a core that has only a 32-bit multiplication and few
 * registers (ARMv6-M): written in assembly there (src/dot_m0_thumb1.S, whole_m0_thumb1.S,
 * requantize_m0_thumb1.S, expand_m0_thumb1.S), in C everywhere else.
 *
 * Weights are expanded into memory as words in the order of their use, four words a tap (a weight
 * of each output channel of a block): one load fetches a tap, none must be unpacked.
 *   plain   four output channels, a word each
 *   lanes   eight output channels, word i = weight 2i + weight 2i+1 * 2^16: one multiplication
 *           does two. The sum of a word's products is low + high * 2^16 modulo 2^32; the two are
 *           told apart where both lie in -32768..32767, whatever happened on the way.
 */
#ifndef TINYQ_BLOCKS_M0_H
#define TINYQ_BLOCKS_M0_H

#include "arith.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes of the table that tq_pairs_m0 writes. */
#define TQ_PAIRS_M0_BYTES 512U

/* From 16 images of a code to two tables over bytes: pairs[b] = table[b & 15], pairs[256 + b] =
 * table[b >> 4]. pairs: aligned to 4. */
void tq_pairs_m0(const int8_t *table, int8_t *pairs);

/* Writes `count` words, a multiple of 4, from packed codes. table: for 4-bit codes what tq_pairs_m0
 * wrote, for 3-bit and 2-bit codes the images of the codes, for int8 unused. int8 codes are aligned
 * to 4. */
typedef void (*tq_expand_m0)(const void *codes, const int8_t *table, uint32_t count,
                             uint32_t *words);
void tq_expand_m0_8(const void *codes, const int8_t *table, uint32_t count, uint32_t *words);
void tq_expand_m0_4(const void *codes, const int8_t *table, uint32_t count, uint32_t *words);
void tq_expand_m0_3(const void *codes, const int8_t *table, uint32_t count, uint32_t *words);
void tq_expand_m0_2(const void *codes, const int8_t *table, uint32_t count, uint32_t *words);
void tq_expand_m0_lanes_8(const void *codes, const int8_t *table, uint32_t count, uint32_t *words);
void tq_expand_m0_lanes_4(const void *codes, const int8_t *table, uint32_t count, uint32_t *words);
void tq_expand_m0_lanes_3(const void *codes, const int8_t *table, uint32_t count, uint32_t *words);
void tq_expand_m0_lanes_2(const void *codes, const int8_t *table, uint32_t count, uint32_t *words);

/* Pixels side by side whose windows have the same form. The assembly knows the offsets. */
typedef struct tq_run_m0 {
    const uint8_t *x;      /* first element of the first window */
    const uint32_t *words; /* its tap */
    uint32_t *sums;        /* [pixels][4], lanes: [pixels][8] */
    const uint32_t *start; /* lanes: [4] where the words' sums start */
    uint32_t pixels;       /* >= 1 */
    uint32_t x_step;       /* elements from one window to the next */
    uint32_t rows;         /* rows of the window, >= 1 */
    uint32_t length;       /* elements of a row, >= 1 */
    uint32_t x_skip;       /* elements from the end of a row to the start of the next */
    uint32_t word_skip;    /* words likewise */
    /* Only where whole windows are finished: */
    uint8_t *outputs;     /* of the first window: a block of channels */
    uint32_t output_step; /* bytes from a window's outputs to the next's */
    const int32_t *base;  /* [4], lanes: [8] what is added to the products */
    const uint8_t *shift; /* [4], lanes: [8] as in tq_column_m0, as what follows */
    int32_t span;
    int32_t lo;
} tq_run_m0;

/* Adds the products of every window to its sums, modulo 2^32. u8, s8: the elements' type. */
typedef void (*tq_dot_m0)(const tq_run_m0 *run);
void tq_dot_m0_u8(const tq_run_m0 *run);
void tq_dot_m0_s8(const tq_run_m0 *run);
void tq_dot_m0_lanes_u8(const tq_run_m0 *run);
void tq_dot_m0_lanes_s8(const tq_run_m0 *run);

/* Windows that one run completes: outputs = clamp((base + products) >> n), without sums in memory.
 */
void tq_whole_m0_u8(const tq_run_m0 *run);
void tq_whole_m0_s8(const tq_run_m0 *run);
void tq_whole_m0_lanes_u8(const tq_run_m0 *run);
void tq_whole_m0_lanes_s8(const tq_run_m0 *run);

/* How one channel's sums become outputs. The greatest output has already been subtracted: a sum is
 * acc - hi * 2^n + rounding constant. The assembly knows the offsets. */
typedef struct tq_column_m0 {
    const uint32_t *sums; /* of the first pixel */
    uint32_t sum_step;    /* words from a pixel to the next */
    uint8_t *outputs;     /* of the first pixel */
    uint32_t output_step; /* bytes from a pixel to the next */
    uint32_t count;       /* pixels, >= 1 */
    uint32_t shift;       /* n, 0..31 */
    int32_t span;         /* hi - lo */
    int32_t lo;           /* smallest output */
    int32_t round;        /* only of the second function: 2^(n-1) + 1 - hi * 2^n */
} tq_column_m0;

/* outputs = clamp(sum >> n) */
void tq_requantize_m0(const tq_column_m0 *column);
/* The same from sums without any constant, in the TFLite rule for n >= 2. */
void tq_requantize_m0_tflite(const tq_column_m0 *column);

/* From sums to outputs as the exporter prepared it (the assembly knows the offsets): a channel's
 * start contains rounding constant and -hi * 2^n where rounding is folded or n < 2, else neither.
 */
typedef struct tq_requant_m0 {
    const int32_t *start; /* [channels, up to a whole block] */
    const uint8_t *shift; /* [channels] or [1]: n, 0..31 */
    uint8_t shift_step;   /* 1: shift holds one entry per channel; 0: one entry for all */
    uint8_t rounding;     /* a tq_rounding */
    int16_t lo;           /* smallest output, -128..255 */
    int16_t hi;           /* greatest output, lo..255 */
} tq_requant_m0;

/* What tq_requantize_m0* needs to know of a channel; the caller fills in the rest. */
static inline tq_column_m0 tq_column_of(const tq_requant_m0 *requant, uint32_t channel) {
    const uint32_t n = requant->shift[channel * requant->shift_step];
    const uint32_t half = UINT32_C(1) << ((n - 1U) & 31U);
    tq_column_m0 column;
    column.sums = 0;
    column.sum_step = 0;
    column.outputs = 0;
    column.output_step = 0;
    column.count = 0;
    column.shift = n;
    column.span = requant->hi - requant->lo;
    column.lo = requant->lo;
    column.round = (int32_t)(half + 1U - ((uint32_t)(int32_t)requant->hi << n));
    return column;
}

/* All outputs of a column. */
static inline void tq_run_column(const tq_requant_m0 *requant, const tq_column_m0 *column) {
    if (requant->rounding == TQ_ROUND_FOLDED || column->shift < 2) {
        tq_requantize_m0(column);
    } else {
        tq_requantize_m0_tflite(column);
    }
}

/* Outputs of channels first..first+count-1 of one pixel, count >= 1. */
void tq_requantize_m0_row(const tq_requant_m0 *requant, uint32_t first, uint32_t count,
                          const uint32_t *sums, uint8_t *outputs);

#ifdef __cplusplus
}
#endif

#endif
