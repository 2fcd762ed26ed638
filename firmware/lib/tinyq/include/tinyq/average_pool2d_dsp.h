/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINYQ_AVERAGE_POOL2D_DSP_H
#define TINYQ_AVERAGE_POOL2D_DSP_H

#include "pool_dsp.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Elements of a window whose sum fits 16 bits, as unsigned bytes. */
#define TQ_DSP_POOL_MAX 257U

/* What tq_average_pool2d computes, the sums of two channels in a word: kernel.height * kernel.width
 * <= TQ_DSP_POOL_MAX. run is tq_mean_window_u8 for uint8 and tq_mean_window_s8 for int8. */
typedef tq_pool_dsp tq_average_pool2d_dsp;

/* input: [input], output: [output] elements of one byte; the two must not overlap. */
void tq_run_average_pool2d_dsp(const tq_average_pool2d_dsp *layer, const void *input, void *output);

void tq_mean_window_u8(const tq_pool_dsp *layer, const tq_pool_window *window, uint8_t *out);
void tq_mean_window_s8(const tq_pool_dsp *layer, const tq_pool_window *window, uint8_t *out);

#ifdef __cplusplus
}
#endif

#endif
