/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two output pixels times four words of weights: eight accumulators, one multiply-accumulate each.
 * For cores that multiply 32 bits at once and nothing narrower (Cortex-M3).
 *
 * A word is one weight, or the weights w0 + w1 * 2^16 of two output channels (lanes): then one
 * multiplication does two. Sums of lanes are exact modulo 2^32; they can be told apart where each
 * fits 16 bits. Where the whole sum does not, it is cut into segments that do, and the lanes are
 * added to 32-bit sums after each (a flush). The exporter proves either.
 *
 * Activations of the two pixels lie side by side, a signed byte each: [element][2]. Unsigned
 * activations are stored minus 128; 128 times the sum of the weights is part of the start.
 */
#ifndef TINYQ_PAIRS_H
#define TINYQ_PAIRS_H

#include <stdint.h>

#include "arith.h"
#include "weights.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Words of a block: accumulators of one pixel. */
#define TQ_PAIR_WORDS 4U

/* A run is elements that lie side by side: {elements | TQ_RUN_FLUSH, bytes skipped before it}. */
#define TQ_RUN_FLUSH 0x8000U

/* Pairs of pixels at equal distances, and one block of output channels. */
typedef struct tq_pairs {
    const int8_t *x;       /* elements of the first pair: [][2] */
    uint32_t x_step;       /* bytes from one pair to the next */
    int32_t *sums;         /* results, see tq_sum_pairs and tq_sum_pairs_flushed */
    uint32_t count;        /* pairs, >= 1 */
    const uint32_t *words; /* [elements][4] */
    const uint16_t *runs;  /* [][2] */
    const uint16_t *runs_end;
    uint32_t start[8]; /* see below */
} tq_pairs;

typedef void (*tq_sum_pairs_function)(const tq_pairs *pairs);

/* sums[pair][pixel][word] = start[pixel * 4 + word] + the sum of products, modulo 2^32. */
void tq_sum_pairs(const tq_pairs *pairs);

/* Words are lanes. sums[pair][pixel][word] = {t, h}, which begin as start[word] = {t, h}. After a
 * run that is marked TQ_RUN_FLUSH (the last one is), with a segment's lanes a + b * 2^16:
 * t += a + b * 2^16 + 2^15 and h += b, modulo 2^32. a and b are within 16 bits. */
void tq_sum_pairs_flushed(const tq_pairs *pairs);

/* Where a block's finished sums go. */
typedef struct tq_pair_outputs {
    const int32_t *sums; /* as tq_sum_pairs or tq_sum_pairs_flushed wrote them */
    uint32_t count;      /* pairs */
    const uint8_t *shift;
    uint32_t shift_step; /* 1: a shift for every channel; 0: the same for all */
    uint32_t channels;   /* of this block */
    uint8_t *outputs;    /* the block's first channel of the first pixel */
    uint32_t step;       /* bytes from one pair to the next */
    uint32_t second;     /* bytes from a pair's first pixel to its second; 0: drop the second */
    int32_t lo;
    int32_t hi;
} tq_pair_outputs;

/* Shifts, rounds, clamps and stores. tq_finish_<words>_<form>: words are sums (one channel each),
 * lanes (two channels) or flushed (two channels, {t, h}); the form is u8 (TQ_ROUND_FOLDED, clamped
 * to 0..255), s8 (TQ_ROUND_FOLDED, -128..127), tflite_s8 (TQ_ROUND_TFLITE, shifts >= 2,
 * -128..127), folded or
 * tflite (any lo..hi). */
typedef void (*tq_finish_pairs)(const tq_pair_outputs *to);
#define TQ_DECLARE_FINISH(words)                                                                   \
    void tq_finish_##words##_u8(const tq_pair_outputs *to);                                        \
    void tq_finish_##words##_s8(const tq_pair_outputs *to);                                        \
    void tq_finish_##words##_tflite_s8(const tq_pair_outputs *to);                                 \
    void tq_finish_##words##_folded(const tq_pair_outputs *to);                                    \
    void tq_finish_##words##_tflite(const tq_pair_outputs *to)
TQ_DECLARE_FINISH(sums);
TQ_DECLARE_FINISH(lanes);
TQ_DECLARE_FINISH(flushed);

/* Writes the words of a block of output channels: [elements][4]. count: the block's channels, 4 or
 * 8, less in the last block. May use all of `words` on the way. */
typedef void (*tq_make_words)(const tq_weights *weights, uint32_t first, uint32_t count,
                              uint32_t elements, uint32_t *words);

/* codes of four channels side by side, channels padded to whole blocks: int8 [element][4] and
 * indices into a table, low nibble first: [element][2]; a word is one weight. channel_bytes
 * are the bytes of a block. */
void tq_words_bytes(const tq_weights *weights, uint32_t first, uint32_t count, uint32_t elements,
                    uint32_t *words);
void tq_words_table(const tq_weights *weights, uint32_t first, uint32_t count, uint32_t elements,
                    uint32_t *words);
/* Codes of eight channels in a little-endian word: weight + 8 of channel 2i in bits 4i.., of
 * channel 2i + 1 in bits 16 + 4i..; a word is two lanes. channel_bytes
 * are the bytes of a block. */
void tq_lanes_nibbles(const tq_weights *weights, uint32_t first, uint32_t count, uint32_t elements,
                      uint32_t *words);

/* Of eight channels, int8 [element][8] and indices into a table [element][4]; a word is two lanes.
 * channel_bytes are the bytes of a block. */
void tq_lanes_bytes(const tq_weights *weights, uint32_t first, uint32_t count, uint32_t elements,
                    uint32_t *words);
void tq_lanes_table(const tq_weights *weights, uint32_t first, uint32_t count, uint32_t elements,
                    uint32_t *words);

/* Packed codes of any encoding, as the portable kernels read them: tq_words_<encoding> and
 * tq_lanes_<encoding>. */
#define TQ_DECLARE_WORDS(encoding)                                                                 \
    void tq_words_##encoding(const tq_weights *weights, uint32_t first, uint32_t count,            \
                             uint32_t elements, uint32_t *words);                                  \
    void tq_lanes_##encoding(const tq_weights *weights, uint32_t first, uint32_t count,            \
                             uint32_t elements, uint32_t *words)
TQ_DECLARE_WORDS(int8);
TQ_DECLARE_WORDS(int4);
TQ_DECLARE_WORDS(int3);
TQ_DECLARE_WORDS(int2);
TQ_DECLARE_WORDS(lut4);
TQ_DECLARE_WORDS(lut3);
TQ_DECLARE_WORDS(lut2);
TQ_DECLARE_WORDS(pot4);
TQ_DECLARE_WORDS(pot3);
TQ_DECLARE_WORDS(apot4);
TQ_DECLARE_WORDS(apot3);

#ifdef __cplusplus
}
#endif

#endif
