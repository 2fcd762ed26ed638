/* SPDX-License-Identifier: Apache-2.0 */
#include <tinyq/add.h>

#include <tinyq/arith.h>

void tq_run_add(const tq_add *layer, const void *a, const void *b, void *output) {
    const tq_add add = *layer;
    const int32_t a_sign = tq_sign_bit(add.a_signed);
    const int32_t b_sign = tq_sign_bit(add.b_signed);
    const uint8_t *pa = a;
    const uint8_t *pb = b;
    uint8_t *out = output;

    for (uint32_t left = add.count; left > 0; left--) {
        const int32_t acc =
            tq_read(*pa++, a_sign) * add.a_factor + tq_read(*pb++, b_sign) * add.b_factor;
        *out++ = (uint8_t)tq_clamp(tq_round_shift_away(acc, add.shift), add.lo, add.hi);
    }
}
