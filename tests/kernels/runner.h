/* SPDX-License-Identifier: Apache-2.0 */
/* What the generated test cases and the runner share. */
#ifndef RUNNER_H
#define RUNNER_H

#include <tinyq/tinyq.h>

enum { MAX_INPUTS = 4 };

typedef struct test_case {
    void (*run)(const void *const *inputs, void *output, void *scratch);
    unsigned count; /* inferences */
    unsigned inputs;
    unsigned input_bytes[MAX_INPUTS];
    unsigned output_bytes;
    int in_place; /* the input that the output overwrites, or -1 */
    unsigned scratch_bytes;
} test_case;

extern const test_case test_cases[];
extern const unsigned test_case_count;

#endif
