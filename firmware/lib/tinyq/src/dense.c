/* SPDX-License-Identifier: Apache-2.0 */
#include <tinyq/dense.h>

void tq_run_dense(const tq_dense *layer, const void *input, void *output) {
    const tq_segment all = {.x = input, .code = 0, .length = layer->inputs};
    tq_run_segment(&layer->weights, &layer->requant, layer->dot, &all, layer->outputs, output);
}
