/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fully connected layers for cores that multiply 32 bits at once and nothing narrower (Cortex-M3):
 * eight output channels at a time, activations as words, two elements a step.
 *
 * Weights of 4 bits are multiplied as they lie in the flash memory, two or more in a word:
 *   nibbles  An 8-nibble word is c = p0 + 16 p1 + 256 p2 + 4096 p3 with lanes pi = a + b * 2^16, a
 * and b weights plus 8. Sums of c, p1, p2, p3 times x give that of p0: all is linear modulo 2^32. 8
 * times the sum of x is taken off, and the lanes can be told apart where both fit 16 bits: the
 * exporter cuts the elements into segments that do. table    Two indices are one entry of a table
 * of pairs, a + 256 b. With the sums of a alone and of the pairs, that of b follows: exact where it
 * fits 24 bits, which the exporter proves.
 */
#ifndef TINYQ_DENSE_WORDS_H
#define TINYQ_DENSE_WORDS_H

#include "arith.h"
#include "weights.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Output channels of a block, and blocks whose sums are kept at a time. */
#define TQ_DENSE_BLOCK  8U
#define TQ_DENSE_BLOCKS 16U

/* Some blocks. */
typedef struct tq_word_sums {
    const int32_t *x;         /* [pairs][2] activations */
    uint32_t pairs;           /* of elements, >= 1 */
    const void *codes;        /* of the first block; aligned to 4 for nibbles */
    uint32_t *sums;           /* [blocks][8], the products and the bias, modulo 2^32 */
    uint32_t blocks;          /* >= 1 */
    const uint32_t *start;    /* [blocks][8], see below */
    const int16_t *table;     /* table: [256] pairs */
    const uint16_t *segments; /* nibbles: pairs of elements of each */
    const uint16_t *segments_end;
    const uint32_t *offsets; /* nibbles: [segments][2], see tq_run_dense_words */
} tq_word_sums;

typedef void (*tq_sum_dense)(const tq_word_sums *dense);

/* codes: int8 [element][channel]. start: the bias. */
void tq_sum_dense_bytes(const tq_word_sums *dense);
/* codes: [element][4], indices of two channels a byte, low nibble first. start: for channels 0, 2,
 * 4, 6 and their partners the bias of pairs, a + 256 b, then that of the firsts, a. */
void tq_sum_dense_table(const tq_word_sums *dense);
/* codes: little-endian words [element]; channel 2i in bits 4i.., 2i + 1 in bits 16 + 4i.., plus 8.
 * start: for channels 2i and 2i + 1 {a + b * 2^16 - 2^15 * segments, b}. */
void tq_sum_dense_nibbles(const tq_word_sums *dense);

typedef struct tq_dense_words {
    const void *codes;
    const int8_t *table;   /* table: [16] images */
    const uint32_t *start; /* [blocks][8] as tq_word_sums.start */
    const uint16_t *segments;
    const uint8_t *shift; /* [outputs] or [1] */
    tq_sum_dense sum;
    /* Finishes channels first..first+count-1. */
    void (*finish)(const struct tq_dense_words *layer, const uint32_t *sums, uint32_t first,
                   uint32_t count, uint8_t *output);
    uint32_t inputs;
    uint32_t outputs;
    uint32_t block_bytes;   /* of codes */
    uint16_t segment_count; /* 0 but for nibbles */
    uint8_t shift_step;
    uint8_t flip; /* 128: the input is uint8, and 128 less is multiplied; 0: int8 */
    int16_t lo;
    int16_t hi;
} tq_dense_words;

/* tq_finish_dense_<form>: see pairs.h. */
#define TQ_DECLARE_FINISH_DENSE(form)                                                              \
    void tq_finish_dense_##form(const tq_dense_words *layer, const uint32_t *sums, uint32_t first, \
                                uint32_t count, uint8_t *output)
TQ_DECLARE_FINISH_DENSE(u8);
TQ_DECLARE_FINISH_DENSE(s8);
TQ_DECLARE_FINISH_DENSE(tflite_s8);
TQ_DECLARE_FINISH_DENSE(folded);
TQ_DECLARE_FINISH_DENSE(tflite);

/* input: [inputs], output: [outputs] elements of one byte; the two must not overlap. scratch,
 * aligned to 4: activations as words, an even number | sums of TQ_DENSE_BLOCKS blocks or as many as
 * there are | table: 512 bytes, nibbles: 8 * segment_count. */
void tq_run_dense_words(const tq_dense_words *layer, const void *input, void *output,
                        void *scratch);

#ifdef __cplusplus
}
#endif

#endif
