/* SPDX-License-Identifier: Apache-2.0
 * A model that executes a known number of instructions: two layers that are loops of FIRST and
 * SECOND turns of two instructions. */
#include "tinyq/model.h"

extern tq_hook counted_hook;
tq_hook counted_hook;
static uint8_t byte;

#define TEXT(number) #number

#if defined(__riscv)

/* gp and tp, which no C code touches, keep the return address and the hook. */
#define LOOP(turns)                                                                                \
    "lui a0, %hi(" TEXT(turns) ")\n\t"                                                             \
                               "addi a0, a0, %lo(" TEXT(turns) ")\n\t"                             \
                                                               "1: addi a0, a0, -1\n\t"            \
                                                               "bnez a0, 1b\n\t"                   \
                                                               "beqz tp, 2f\n\t"                   \
                                                               "jalr tp\n\t"                       \
                                                               "2:\n\t"
#define INVOKE                                                                                     \
    "mv gp, ra\n\t"                                                                                \
    "lui tp, %hi(counted_hook)\n\t"                                                                \
    "lw tp, %lo(counted_hook)(tp)\n\t" LOOP(FIRST) LOOP(SECOND) "jr gp"

#else

#define LOOP(turns)                                                                                \
    "ldr r0, =" TEXT(turns) "\n\t"                                                                 \
                            "1: subs r0, #1\n\t"                                                   \
                            "bne 1b\n\t"                                                           \
                            "cmp r4, #0\n\t"                                                       \
                            "beq 2f\n\t"                                                           \
                            "blx r4\n\t"                                                           \
                            "2:\n\t"

#define INVOKE                                                                                     \
    ".syntax unified\n\t"                                                                          \
    "push {r4, lr}\n\t"                                                                            \
    "ldr r4, =counted_hook\n\t"                                                                    \
    "ldr r4, [r4]\n\t" LOOP(FIRST) LOOP(SECOND) "pop {r4, pc}\n\t"                                 \
                                                ".ltorg"

#endif

/* Without a hook: 3 + (3 + 2 FIRST) + (3 + 2 SECOND) + 1; a hook's call is one more in its layer.
 */
__attribute__((naked)) static void counted_invoke(void) {
    __asm__ volatile(INVOKE);
}

static int counted_init(void *arena) {
    (void)arena;
    return TQ_OK;
}

static void *counted_input(unsigned index) {
    (void)index;
    return &byte;
}

static const void *counted_output(unsigned index) {
    (void)index;
    return &byte;
}

static void counted_reset(void) {
}

static int counted_selftest(void) {
    return TQ_ERROR_NO_SELFTEST;
}

static void counted_set_hook(tq_hook hook, void *user) {
    (void)user;
    counted_hook = hook;
}

static const uint32_t bytes[1] = {1};

extern const tq_model counted_model;
const tq_model counted_model = {.name = "counted",
                                .input_count = 1,
                                .output_count = 1,
                                .layer_count = 2,
                                .input_bytes = bytes,
                                .output_bytes = bytes,
                                .init = counted_init,
                                .input = counted_input,
                                .invoke = counted_invoke,
                                .output = counted_output,
                                .reset = counted_reset,
                                .selftest = counted_selftest,
                                .set_hook = counted_set_hook};
