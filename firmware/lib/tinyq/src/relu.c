/* SPDX-License-Identifier: Apache-2.0 */
#include <tinyq/relu.h>

#include <tinyq/arith.h>

void tq_run_relu(const tq_relu *layer, const void *input, void *output) {
    const tq_relu relu = *layer;
    const int32_t sign = tq_sign_bit(relu.input_signed);
    const uint8_t *in = input;
    uint8_t *out = output;

    for (uint32_t left = relu.count; left > 0; left--) {
        *out++ = (uint8_t)tq_clamp(tq_read(*in++, sign), relu.lo, relu.hi);
    }
}
