/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINYQ_CONCAT_H
#define TINYQ_CONCAT_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Joins tensors along one axis. All share exponent and signedness. */
typedef struct tq_concat {
    const uint32_t *block_bytes; /* [count] elements of each input from the joined axis inwards */
    uint32_t count;              /* inputs */
    uint32_t outer;              /* product of the dimensions before the joined axis, 1 if none */
} tq_concat;

/* inputs: [count] pointers to tensors of outer * block_bytes[i] elements of one byte; output: their
 * sum; it must not overlap any of them. */
void tq_run_concat(const tq_concat *layer, const void *const *inputs, void *output);

#ifdef __cplusplus
}
#endif

#endif
