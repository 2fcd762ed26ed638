/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Windows of 3x3 over one channel, its activations one word each: nine multiply-accumulates with
 * the weights in registers. For cores that multiply 32 bits at once and nothing narrower
 * (Cortex-M3).
 *
 * A word is one activation, or those of two pixels, x0 + x1 * 2^16 (lanes): then one multiplication
 * does two, modulo 2^32, and the sums can be told apart where both fit 16 bits.
 */
#ifndef TINYQ_PLANES_H
#define TINYQ_PLANES_H

#include <stdint.h>

#include "arith.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Rows of one channel. */
typedef struct tq_plane {
    const uint32_t *x;  /* rows of so many words as the function's name says */
    uint32_t *sums;     /* [rows][columns] */
    uint32_t rows;      /* of sums, >= 1 */
    uint32_t row_step;  /* bytes of x from one to the next */
    uint32_t columns;   /* of sums, >= 1 */
    uint32_t start[2];  /* of every sum, twice the same */
    int32_t weights[9]; /* [3][3] */
} tq_plane;

typedef void (*tq_sum_plane)(const tq_plane *plane);

/* sums[row][column] = start + the products of the window, modulo 2^32. tq_sum_plane_<words of a
 * row>_ <columns of x from one window to the next>. Windows end within a row. */
#define TQ_DECLARE_SUM_PLANE(pitch)                                                                \
    void tq_sum_plane_##pitch##_1(const tq_plane *plane);                                          \
    void tq_sum_plane_##pitch##_2(const tq_plane *plane)
TQ_DECLARE_SUM_PLANE(8);
TQ_DECLARE_SUM_PLANE(16);
TQ_DECLARE_SUM_PLANE(32);
TQ_DECLARE_SUM_PLANE(64);
TQ_DECLARE_SUM_PLANE(128);

/* Where a channel's sums go. */
typedef struct tq_plane_outputs {
    const int32_t *sums; /* [count] */
    uint32_t count;      /* words */
    uint32_t seconds;    /* how many of them, the first ones, have a second lane to be stored */
    uint32_t shift;
    uint8_t *outputs;
    uint32_t step;   /* bytes from one to the next */
    uint32_t second; /* bytes from the output of a word's first lane to that of its second */
    int32_t lo;
    int32_t hi;
} tq_plane_outputs;

/* Shifts, rounds, clamps and stores. tq_finish_plane_<words>_<form>: words are sums or lanes; for
 * the form see pairs.h. */
typedef void (*tq_finish_plane)(const tq_plane_outputs *to);
#define TQ_DECLARE_FINISH_PLANE(words)                                                             \
    void tq_finish_plane_##words##_u8(const tq_plane_outputs *to);                                 \
    void tq_finish_plane_##words##_s8(const tq_plane_outputs *to);                                 \
    void tq_finish_plane_##words##_tflite_s8(const tq_plane_outputs *to);                          \
    void tq_finish_plane_##words##_folded(const tq_plane_outputs *to);                             \
    void tq_finish_plane_##words##_tflite(const tq_plane_outputs *to)
TQ_DECLARE_FINISH_PLANE(sums);
TQ_DECLARE_FINISH_PLANE(lanes);

#ifdef __cplusplus
}
#endif

#endif
