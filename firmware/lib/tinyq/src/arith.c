/* SPDX-License-Identifier: Apache-2.0 */
#include <tinyq/arith.h>

void tq_requantize(const tq_requant *requant, uint32_t first, uint32_t count, const int32_t *sums,
                   uint8_t *outputs) {
    const tq_requant r = *requant; /* a copy: no store to outputs can change it */
    const uint8_t *shift = r.shift + first * r.shift_step;

    for (; count > 0; count--) {
        const int32_t acc = tq_round_shift(*sums++, *shift, r.rounding);
        *outputs++ = (uint8_t)tq_clamp(acc, r.lo, r.hi);
        shift += r.shift_step;
    }
}
