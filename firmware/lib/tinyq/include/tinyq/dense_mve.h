/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINYQ_DENSE_MVE_H
#define TINYQ_DENSE_MVE_H

#include "mve.h"

#ifdef __cplusplus
extern "C" {
#endif

struct tq_dense_mve;

/* Fully connected layers by the form of their weights. Codes: [blocks][vectors], and in each
 * vector's place four vectors of int8 (channel 0, 1, 2, 3 of the block), or two vectors of 4-bit
 * codes (low nibbles: channels 0 and 2; high ones: 1 and 3). */
typedef void (*tq_mve_dense)(const struct tq_dense_mve *layer, const uint8_t *x, uint8_t *output);
void tq_mve_dense_int8(const struct tq_dense_mve *layer, const uint8_t *x, uint8_t *output);
void tq_mve_dense_int8_nudge(const struct tq_dense_mve *layer, const uint8_t *x, uint8_t *output);
/* Accumulators, bias and nudge are 16 times the layer's, and n is 4 more. */
void tq_mve_dense_int4(const struct tq_dense_mve *layer, const uint8_t *x, uint8_t *output);
void tq_mve_dense_int4_nudge(const struct tq_dense_mve *layer, const uint8_t *x, uint8_t *output);
/* 4-bit codes are indices into the table. */
void tq_mve_dense_table(const struct tq_dense_mve *layer, const uint8_t *x, uint8_t *output);
void tq_mve_dense_table_nudge(const struct tq_dense_mve *layer, const uint8_t *x, uint8_t *output);

/* Fully connected layer of int8 vectors. The assembly knows the offsets of these fields. */
typedef struct tq_dense_mve {
    const uint8_t *codes;
    const int8_t *table; /* [16] images of 4-bit codes, or NULL */
    tq_mve_requant requant;
    uint32_t inputs;
    uint32_t outputs;
    uint32_t flip;    /* 0x80: the input is uint8; 0: int8 */
    tq_mve_dense run; /* tq_mve_dense_<form>, or with _nudge where requant.nudge is given */
} tq_dense_mve;

/* input: [inputs], output: [outputs] elements of one byte; the two must not overlap. */
void tq_run_dense_mve(const tq_dense_mve *layer, const void *input, void *output);

#ifdef __cplusplus
}
#endif

#endif
