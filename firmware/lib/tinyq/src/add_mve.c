/* SPDX-License-Identifier: Apache-2.0 */
#include <tinyq/add_mve.h>

#include "add_mve_parts.h"

void tq_run_add_mve(const tq_add_mve *layer, const void *a, const void *b, void *output) {
    if (layer->a_signed) {
        if (layer->b_signed) {
            tq_mve_add_s8_s8(layer, a, b, output);
        } else {
            tq_mve_add_s8_u8(layer, a, b, output);
        }
    } else if (layer->b_signed) {
        tq_mve_add_u8_s8(layer, a, b, output);
    } else {
        tq_mve_add_u8_u8(layer, a, b, output);
    }
}
