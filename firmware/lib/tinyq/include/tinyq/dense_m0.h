/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINYQ_DENSE_M0_H
#define TINYQ_DENSE_M0_H

#include "blocks_m0.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Inputs that meet one block of outputs. The assembly knows the offsets. */
typedef struct tq_row_m0 {
    const uint8_t *x; /* [count] */
    const void *codes;
    const int8_t *pairs;   /* what tq_pairs_m0 wrote, for the second function only */
    uint32_t count;        /* >= 1 */
    uint32_t *sums;        /* [4], lanes: [8]; the products are added */
    const uint32_t *start; /* lanes: [4] where the words' sums start */
    uint32_t total;        /* lanes: sum of x */
} tq_row_m0;

typedef void (*tq_dot_row_m0)(const tq_row_m0 *row);

/* int8, four outputs: 16-bit halves w0 + 256 * w1 and w2 + 256 * w3, aligned to 4. A half times x
 * adds up to S0 + 256 * S1, its low byte to S0. The exporter proves |S1|, |S3| < 2^23. */
void tq_dot_row_m0_8(const tq_row_m0 *row);
/* Codes of 4 bits, four outputs, the first in the lowest bits of the first of two bytes. */
void tq_dot_row_m0_4(const tq_row_m0 *row);
/* int4, eight outputs in lanes: nibble i of a word, aligned to 4, is the weight of output i plus 8;
 * word i of the lanes holds outputs i and i + 4. The exporter proves that both end, from where they
 * start, in 16 bits. */
void tq_dot_row_m0_lanes(const tq_row_m0 *row);

/* Fully connected layer. Codes: [block][input][output of the block]. */
typedef struct tq_dense_m0 {
    const void *codes;
    const int8_t *table;      /* images of 4-bit codes; NULL: int8 or lanes */
    tq_dot_row_m0 dot;        /* tq_dot_row_m0_<codes> */
    tq_requant_m0 requant;    /* starts: for x in 0..255, less what the lanes' starts add up to */
    const uint32_t *lanes;    /* [block][segment][4] starts of lanes; NULL: none */
    const uint16_t *segments; /* [segment_count] inputs of each segment */
    uint32_t inputs;
    uint32_t outputs;
    uint16_t segment_count; /* 1 without lanes */
    uint8_t block;          /* outputs: 4, lanes: 8 */
    uint8_t tap_bytes;      /* of the codes of an input in a block: 2 or 4 */
    uint8_t flip;           /* 128: the input is int8, and is raised by 128; 0: uint8 */
} tq_dense_m0;

/* Outputs whose sums are kept at a time, a multiple of 8. */
#define TQ_DENSE_M0_CHUNK 32U

/* input: [inputs], output: [outputs] elements of one byte; the two must not overlap. scratch:
 * TQ_DENSE_M0_CHUNK words, segment_count words, TQ_PAIRS_M0_BYTES where there is a table, then
 * `inputs` bytes if flip. The exporter proves that no final sum leaves 32 bits. */
void tq_run_dense_m0(const tq_dense_m0 *layer, const void *input, void *output, void *scratch);

#ifdef __cplusplus
}
#endif

#endif
