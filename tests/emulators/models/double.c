/* SPDX-License-Identifier: Apache-2.0
 * A small stand-in for an exported model, with two inputs, two outputs and two layers:
 *   y[i] = clamp(3 x[i] + i),  z = clamp((sum(y) >> 3) + g)
 * DOUBLE_BREAK: a statement to run in the middle. DOUBLE_BALLAST: bytes of RAM to occupy. */
#include "tinyq/arith.h"
#include "tinyq/crc32.h"
#include "tinyq/model.h"

#ifndef DOUBLE_BREAK
#define DOUBLE_BREAK
#endif
#if defined(__riscv)
#define DOUBLE_UNDEFINED ".2byte 0"
#else
#define DOUBLE_UNDEFINED ".inst.n 0xde00"
#endif
#ifndef DOUBLE_BALLAST
#define DOUBLE_BALLAST 1
#endif
#ifndef DOUBLE_CRC
#define DOUBLE_CRC 0xDBB4A3A6u
#endif
#ifndef DOUBLE_INIT
#define DOUBLE_INIT TQ_OK
#endif

enum { WIDTH = 16, LAYERS = 2 };

extern volatile uint8_t double_ballast[DOUBLE_BALLAST];
volatile uint8_t double_ballast[DOUBLE_BALLAST];
extern const uint32_t double_constant[4];
const uint32_t double_constant[4] = {1, 2, 3, 4};

static int8_t x[WIDTH];
static uint8_t g[1];
static int8_t y[WIDTH];
static int8_t z[1];
static tq_hook hook;
static void *hook_user;

static int double_init(void *arena) {
    (void)arena;
    return DOUBLE_INIT;
}

static void *double_input(unsigned index) {
    return index == 0 ? (void *)x : (void *)g;
}

static const void *double_output(unsigned index) {
    return index == 0 ? z : y;
}

static void after_layer(unsigned layer, const void *data, uint32_t bytes) {
    if (hook != 0) {
        hook(hook_user, layer, data, bytes);
    }
}

static void double_invoke(void) {
    int32_t total = 0;
    for (int32_t i = 0; i < WIDTH; i++) {
        y[i] = (int8_t)tq_clamp(3 * x[i] + i, -128, 127);
    }
    after_layer(0, y, WIDTH);
    double_ballast[0] = 1;
    DOUBLE_BREAK;
    for (int32_t i = 0; i < WIDTH; i++) {
        total += y[i];
    }
    z[0] = (int8_t)tq_clamp((total >> 3) + g[0], -128, 127);
    after_layer(1, z, 1);
}

static void double_reset(void) {
}

static void double_set_hook(tq_hook new_hook, void *user) {
    hook = new_hook;
    hook_user = user;
}

static void check_layer(void *user, unsigned layer, const void *data, uint32_t bytes) {
    static const uint32_t expected[LAYERS] = {0x37325C35u, DOUBLE_CRC};
    int *const first_bad = user;
    if (*first_bad == 0 && tq_crc32(0, data, bytes) != expected[layer]) {
        *first_bad = (int)layer + 1;
    }
}

static int double_selftest(void) {
    int first_bad = 0;
    g[0] = 0;
    for (int32_t i = 0; i < WIDTH; i++) {
        x[i] = (int8_t)(i - WIDTH / 2);
    }
    double_set_hook(check_layer, &first_bad);
    double_invoke();
    double_set_hook(0, 0);
    return first_bad;
}

static const uint32_t input_bytes[2] = {WIDTH, 1};
static const uint32_t output_bytes[2] = {1, WIDTH};

extern const tq_model double_model;
const tq_model double_model = {.name = "double",
                               .input_count = 2,
                               .output_count = 2,
                               .layer_count = LAYERS,
                               .input_bytes = input_bytes,
                               .output_bytes = output_bytes,
                               .init = double_init,
                               .input = double_input,
                               .invoke = double_invoke,
                               .output = double_output,
                               .reset = double_reset,
                               .selftest = double_selftest,
                               .set_hook = double_set_hook};
