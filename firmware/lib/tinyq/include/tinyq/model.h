/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every generated model offers, behind one struct, so that a harness can drive any of them.
 */
#ifndef TINYQ_MODEL_H
#define TINYQ_MODEL_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Set to 0 to compile models without the per-layer hook (and without the self-test that needs it).
 */
#ifndef TQ_HOOKS
#define TQ_HOOKS 1
#endif

/* Results of tq_model.init. */
#define TQ_OK                  0
#define TQ_ERROR_NO_ARENA      (-1) /* no arena given, and the model was built without its own */
#define TQ_ERROR_ARENA_ALIGN   (-2) /* the arena's address is not a multiple of the alignment */
#define TQ_ERROR_NO_SELFTEST   (-3) /* selftest: built without hooks or without stored vectors */
#define TQ_ERROR_UNINITIALISED (-4) /* selftest: init has not succeeded */

/* Called after each layer with its index in the schedule and its output tensor (bytes elements). */
typedef void (*tq_hook)(void *user, unsigned layer, const void *data, uint32_t bytes);

typedef struct tq_model {
    const char *name;
    uint16_t input_count;
    uint16_t output_count;
    uint16_t layer_count;         /* calls of the hook in one invoke */
    const uint32_t *input_bytes;  /* [input_count] */
    const uint32_t *output_bytes; /* [output_count] */
    int (*init)(void *arena);     /* NULL: the model's own arena; returns TQ_OK or TQ_ERROR_* */
    void *(*input)(unsigned index);
    void (*invoke)(void); /* destroys the inputs */
    const void *(*output)(unsigned index);
    void (*reset)(void);   /* state tensors back to their start */
    int (*selftest)(void); /* 0, a TQ_ERROR_*, or 1 + the first layer whose CRC-32 differs */
    void (*set_hook)(tq_hook hook, void *user); /* NULL when built with TQ_HOOKS 0 */
} tq_model;

#ifdef __cplusplus
}
#endif

#endif
