/* SPDX-License-Identifier: Apache-2.0 */
/* Private to src/: inner routines of add_mve.c, in assembly or in C, by the types of a and b. */
#ifndef TINYQ_ADD_MVE_PARTS_H
#define TINYQ_ADD_MVE_PARTS_H

#include <tinyq/add_mve.h>

void tq_mve_add_u8_u8(const tq_add_mve *add, const uint8_t *a, const uint8_t *b, uint8_t *output);
void tq_mve_add_u8_s8(const tq_add_mve *add, const uint8_t *a, const uint8_t *b, uint8_t *output);
void tq_mve_add_s8_u8(const tq_add_mve *add, const uint8_t *a, const uint8_t *b, uint8_t *output);
void tq_mve_add_s8_s8(const tq_add_mve *add, const uint8_t *a, const uint8_t *b, uint8_t *output);

#endif
