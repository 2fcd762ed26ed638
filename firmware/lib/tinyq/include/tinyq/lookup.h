/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINYQ_LOOKUP_H
#define TINYQ_LOOKUP_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Any function of one element (sigmoid): output byte = table[input byte]. */
typedef struct tq_lookup {
    const uint8_t
        *table;     /* [256], indexed by the input byte: entry 255 is q = -1 of an int8 input */
    uint32_t count; /* elements */
} tq_lookup;

/* input, output: [count] elements of one byte. output may be input. */
void tq_run_lookup(const tq_lookup *layer, const void *input, void *output);

#ifdef __cplusplus
}
#endif

#endif
