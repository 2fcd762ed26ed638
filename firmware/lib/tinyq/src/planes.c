/* SPDX-License-Identifier: Apache-2.0 */
/* Sums of planes in C, for cores that src/planes_m3.S is not for, and what becomes of the sums. */
#include <tinyq/planes.h>

#include "channel_forms.h"

#if !defined(__ARM_ARCH_7M__)
ALWAYS_INLINE void sum_plane(const tq_plane *plane, uint32_t pitch, uint32_t stride) {
    const uint32_t *row = plane->x;
    uint32_t *sums = plane->sums;

    for (uint32_t rows = plane->rows; rows > 0; rows--) {
        const uint32_t *x = row;
        for (uint32_t columns = plane->columns; columns > 0; columns--) {
            uint32_t sum = plane->start[0];
            for (uint32_t i = 0; i < 9; i++) {
                sum += x[i / 3 * pitch + i % 3] * (uint32_t)plane->weights[i];
            }
            *sums++ = sum;
            x += stride;
        }
        row += plane->row_step / sizeof *row;
    }
}

#define DEFINE_SUM_PLANE(pitch)                                                                    \
    void tq_sum_plane_##pitch##_1(const tq_plane *plane) {                                         \
        sum_plane(plane, pitch, 1);                                                                \
    }                                                                                              \
    void tq_sum_plane_##pitch##_2(const tq_plane *plane) {                                         \
        sum_plane(plane, pitch, 2);                                                                \
    }

DEFINE_SUM_PLANE(8)
DEFINE_SUM_PLANE(16)
DEFINE_SUM_PLANE(32)
DEFINE_SUM_PLANE(64)
DEFINE_SUM_PLANE(128)
#endif

/* --- finishing ---------------------------------------------------------------------------------
 */

ALWAYS_INLINE void finish_sums(const tq_plane_outputs *to, form form) {
    const channel c = make_channel(to->shift, to->lo, to->hi);
    const uint32_t step = to->step;
    const int32_t *sums = to->sums;
    uint8_t *out = to->outputs;
    uint32_t left = to->count;

    for (; left >= 4; left -= 4) {
        out[0] = requantized(sums[0], c, form);
        out[step] = requantized(sums[1], c, form);
        out += 2 * step;
        out[0] = requantized(sums[2], c, form);
        out[step] = requantized(sums[3], c, form);
        out += 2 * step;
        sums += 4;
    }
    for (; left > 0; left--) {
        *out = requantized(*sums++, c, form);
        out += step;
    }
}

ALWAYS_INLINE void finish_lanes(const tq_plane_outputs *to, form form) {
    const channel c = make_channel(to->shift, to->lo, to->hi);
    const channel d = odd_channel(c, form);
    const uint32_t step = to->step;
    const uint32_t second = to->second;
    const uint32_t *sums = (const uint32_t *)to->sums;
    uint8_t *out = to->outputs;
    uint32_t left = to->seconds;

    for (; left >= 2; left -= 2) {
        const uint32_t first = sums[0];
        const uint32_t next = sums[1];
        out[0] = requantized(even_lane(first), c, form);
        out[second] = requantized(odd_lane(first, form), d, form);
        out += step;
        out[0] = requantized(even_lane(next), c, form);
        out[second] = requantized(odd_lane(next, form), d, form);
        out += step;
        sums += 2;
    }
    if (left > 0) {
        const uint32_t last = *sums++;
        out[0] = requantized(even_lane(last), c, form);
        out[second] = requantized(odd_lane(last, form), d, form);
        out += step;
    }
    for (left = to->count - to->seconds; left > 0; left--) {
        *out = requantized(even_lane(*sums++), c, form);
        out += step;
    }
}

#define DEFINE_FINISH_PLANE(words)                                                                 \
    void tq_finish_plane_##words##_u8(const tq_plane_outputs *to) {                                \
        finish_##words(to, U8);                                                                    \
    }                                                                                              \
    void tq_finish_plane_##words##_s8(const tq_plane_outputs *to) {                                \
        finish_##words(to, S8);                                                                    \
    }                                                                                              \
    void tq_finish_plane_##words##_tflite_s8(const tq_plane_outputs *to) {                         \
        finish_##words(to, TFLITE_S8);                                                             \
    }                                                                                              \
    void tq_finish_plane_##words##_folded(const tq_plane_outputs *to) {                            \
        finish_##words(to, FOLDED);                                                                \
    }                                                                                              \
    void tq_finish_plane_##words##_tflite(const tq_plane_outputs *to) {                            \
        finish_##words(to, TFLITE);                                                                \
    }

DEFINE_FINISH_PLANE(sums)
DEFINE_FINISH_PLANE(lanes)
