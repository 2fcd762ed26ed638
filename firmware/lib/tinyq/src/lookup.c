/* SPDX-License-Identifier: Apache-2.0 */
#include <tinyq/lookup.h>

void tq_run_lookup(const tq_lookup *layer, const void *input, void *output) {
    const uint8_t *const table = layer->table;
    const uint8_t *in = input;
    uint8_t *out = output;

    for (uint32_t left = layer->count; left > 0; left--) {
        *out++ = table[*in++];
    }
}
