/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINYQ_ADD_DSP_H
#define TINYQ_ADD_DSP_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What tq_add computes, four elements at once, counted from the smallest output. Bytes of int8
 * tensors count as u = q + 128, those of uint8 tensors as u = q. With
 *
 *     v = u_a * a_factor + u_b * b_factor + start
 *
 * the output is lo + min(span, clamp((v - [v < zero]) >> shift, 0..255)): half of 2^shift, which
 * start contains, rounds sums from zero on, one less those below. The exporter proves that
 * v >> shift fits 16 bits and that |v|, |zero| < 2^30. */
typedef struct tq_add_dsp {
    uint32_t count;   /* elements */
    int32_t start;    /* half of 2^shift; minus lo * 2^shift; minus what the 128s amount to */
    int32_t zero;     /* v of a sum of 0; less than any v where nothing rounds otherwise */
    int16_t a_factor; /* 2^(e_a - f) and 2^(e_b - f) of tq_add, at most 2^14 */
    int16_t b_factor;
    uint8_t a_signed; /* 1: a is int8; 0: uint8 */
    uint8_t b_signed; /* the same for b */
    uint8_t shift;    /* 0..31 */
    uint8_t lo;       /* the byte of the smallest output */
    uint8_t span;     /* greatest - smallest output */
} tq_add_dsp;

/* a, b, output: [count] elements of one byte. output may be a or b. */
void tq_run_add_dsp(const tq_add_dsp *layer, const void *a, const void *b, void *output);

#ifdef __cplusplus
}
#endif

#endif
