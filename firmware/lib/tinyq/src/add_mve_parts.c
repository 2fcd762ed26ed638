/* SPDX-License-Identifier: Apache-2.0 */
/* What add_mve_m55.S computes, for every other machine. */
#include "add_mve_parts.h"

#if !TQ_HAS_MVE

/* flip: 0 reads a byte as int8, 0x80 reads it as uint8 less 128. */
static int32_t value(uint8_t byte, uint8_t flip) {
    return tq_mve_read(byte, flip) + flip;
}

static void add_all(const tq_add_mve *add, const uint8_t *a, const uint8_t *b, uint8_t *output,
                    uint8_t a_flip, uint8_t b_flip) {
    for (uint32_t i = 0; i < add->count; i++) {
        int32_t acc = value(a[i], a_flip) * add->a_factor + value(b[i], b_flip) * add->b_factor;
        acc += acc < 0 ? add->away : 0;
        output[i] = (uint8_t)tq_mve_requantize(acc, add->shift, 0, add->lo, add->hi);
    }
}

#define DEFINE_ADD(types, a_flip, b_flip)                                                          \
    void tq_mve_add_##types(const tq_add_mve *add, const uint8_t *a, const uint8_t *b,             \
                            uint8_t *output) {                                                     \
        add_all(add, a, b, output, a_flip, b_flip);                                                \
    }
DEFINE_ADD(u8_u8, 0x80, 0x80)
DEFINE_ADD(u8_s8, 0x80, 0)
DEFINE_ADD(s8_u8, 0, 0x80)
DEFINE_ADD(s8_s8, 0, 0)

#else

typedef int tq_add_mve_parts_are_assembly; /* a translation unit must declare something */

#endif
