/* SPDX-License-Identifier: Apache-2.0 */
/* Convolution with the DSP extension and the addition of another tensor to its result. */
#ifndef TINYQ_CONV2D_DSP_ADD_H
#define TINYQ_CONV2D_DSP_ADD_H

#include "conv2d_dsp.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef tq_conv2d_dsp tq_conv2d_dsp_add;

/* As tq_run_conv2d_dsp. other: [output] elements of one byte; output may be other. */
void tq_run_conv2d_dsp_add(const tq_conv2d_dsp_add *layer, const void *input, const void *other,
                           void *output, void *scratch);

#ifdef __cplusplus
}
#endif

#endif
