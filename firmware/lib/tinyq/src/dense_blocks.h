/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to src/: inner loops of fully connected layers, in C or, for cores with the DSP
 * extension, in assembly (dense_dsp_m4.S). Each adds the products of `groups` times four inputs,
 * groups >= 1, to the sums of eight channels and returns what follows the weights that it used.
 */
#ifndef TINYQ_DENSE_BLOCKS_H
#define TINYQ_DENSE_BLOCKS_H

#include <stdint.h>

#include "dsp_assembly.h"

/* sums: of channel pairs, of low bytes and of whole lanes in turn. */
const uint32_t *tq_add_dense_int8_s8(const uint32_t *weights, const uint8_t *x, uint32_t groups,
                                     uint32_t *sums);
const uint32_t *tq_add_dense_int8_u8(const uint32_t *weights, const uint8_t *x, uint32_t groups,
                                     uint32_t *sums);

/* sums: of both words of four channels, of one, two, three, four nibbles. */
const uint32_t *tq_add_dense_int4_s8(const uint32_t *weights, const uint8_t *x, uint32_t groups,
                                     uint32_t *sums);
const uint32_t *tq_add_dense_int4_u8(const uint32_t *weights, const uint8_t *x, uint32_t groups,
                                     uint32_t *sums);

#endif
