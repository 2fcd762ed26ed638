/* SPDX-License-Identifier: Apache-2.0
 * A stand-in for an exported model: y[i] = clamp(3 x[i] + i), z = clamp(sum(y) >> 3). */
#include "tinyq/arith.h"
#include "tinyq/crc32.h"
#include "tinyq/model.h"

enum { WIDTH = 16, LAYERS = 2 };

static struct {
    int8_t x[WIDTH];
    int8_t y[WIDTH];
    int8_t z[1];
} arena;
static tq_hook hook;
static void *hook_user;

static int demo_init(void *unused) {
    (void)unused;
    return TQ_OK;
}

static void *demo_input(unsigned index) {
    return index == 0 ? arena.x : 0;
}

static const void *demo_output(unsigned index) {
    return index == 0 ? arena.z : 0;
}

static void after_layer(unsigned layer, const void *data, uint32_t bytes) {
    if (hook != 0) {
        hook(hook_user, layer, data, bytes);
    }
}

static void demo_invoke(void) {
    int32_t total = 0;
    for (int32_t i = 0; i < WIDTH; i++) {
        arena.y[i] = (int8_t)tq_clamp(3 * arena.x[i] + i, -128, 127);
    }
    after_layer(0, arena.y, WIDTH);
    for (int32_t i = 0; i < WIDTH; i++) {
        total += arena.y[i];
    }
    arena.z[0] = (int8_t)tq_clamp(total >> 3, -128, 127);
    after_layer(1, arena.z, 1);
}

static void demo_reset(void) {
}

static void demo_set_hook(tq_hook new_hook, void *user) {
    hook = new_hook;
    hook_user = user;
}

static const uint32_t expected_crc[LAYERS] = {0x37325C35u, 0xDBB4A3A6u};

static void check_layer(void *user, unsigned layer, const void *data, uint32_t bytes) {
    int *const first_bad = user;
    if (*first_bad == 0 && tq_crc32(0, data, bytes) != expected_crc[layer]) {
        *first_bad = (int)layer + 1;
    }
}

static int demo_selftest(void) {
    int first_bad = 0;
    for (int32_t i = 0; i < WIDTH; i++) {
        arena.x[i] = (int8_t)(i - WIDTH / 2);
    }
    demo_set_hook(check_layer, &first_bad);
    demo_invoke();
    demo_set_hook(0, 0);
    return first_bad;
}

static const uint32_t input_bytes[1] = {WIDTH};
static const uint32_t output_bytes[1] = {1};

extern const tq_model demo_model;
const tq_model demo_model = {.name = "demo",
                             .input_count = 1,
                             .output_count = 1,
                             .layer_count = LAYERS,
                             .input_bytes = input_bytes,
                             .output_bytes = output_bytes,
                             .init = demo_init,
                             .input = demo_input,
                             .invoke = demo_invoke,
                             .output = demo_output,
                             .reset = demo_reset,
                             .selftest = demo_selftest,
                             .set_hook = demo_set_hook};
