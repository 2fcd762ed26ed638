/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINYQ_ADD_MVE_H
#define TINYQ_ADD_MVE_H

#include "mve.h"

#ifdef __cplusplus
extern "C" {
#endif

/* tq_add in 16-bit lanes. The exporter proves that |a| * a_factor + |b| * b_factor and the rounding
 * constant stay below 2^15. The assembly knows the offsets of these fields. */
typedef struct tq_add_mve {
    uint32_t count; /* elements, >= 1 */
    int32_t a_factor;
    int32_t b_factor;
    int32_t shift; /* -n, -15..0 */
    int32_t away;  /* -1: halves are rounded away from zero; 0 where n is 0 */
    int32_t lo;    /* smallest output */
    int32_t hi;    /* greatest output */
    uint8_t a_signed;
    uint8_t b_signed;
} tq_add_mve;

/* a, b, output: [count] elements of one byte. output may be a or b. */
void tq_run_add_mve(const tq_add_mve *layer, const void *a, const void *b, void *output);

#ifdef __cplusplus
}
#endif

#endif
