/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINYQ_MAX_POOL2D_DSP_H
#define TINYQ_MAX_POOL2D_DSP_H

#include "pool_dsp.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What tq_max_pool2d computes, four channels at once. run is tq_max_window_u8 for uint8 and
 * tq_max_window_s8 for int8; lo and hi do not count. */
typedef tq_pool_dsp tq_max_pool2d_dsp;

/* input: [input], output: [output] elements of one byte; the two must not overlap. */
void tq_run_max_pool2d_dsp(const tq_max_pool2d_dsp *layer, const void *input, void *output);

void tq_max_window_u8(const tq_pool_dsp *layer, const tq_pool_window *window, uint8_t *out);
void tq_max_window_s8(const tq_pool_dsp *layer, const tq_pool_window *window, uint8_t *out);

#ifdef __cplusplus
}
#endif

#endif
