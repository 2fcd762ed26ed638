/* SPDX-License-Identifier: Apache-2.0
 * Two kernels on this core against loops that are plainly right: a padded, strided convolution with
 * int8 weights and a fully connected layer with 4-bit table weights. */
#include "tinyq/conv2d.h"
#include "tinyq/dense.h"
#include "tq_test.h"

enum { SIZE = 5, IN = 3, OUT = 4, KERNEL = 3, TAPS = KERNEL * KERNEL * IN, SHIFT = 6 };

static uint32_t seed = 1;

static uint8_t random_byte(void) {
    seed = seed * 1664525u + 1013904223u;
    return (uint8_t)(seed >> 24);
}

static void fill(void *to, uint32_t bytes) {
    uint8_t *const first = to;
    for (uint32_t i = 0; i < bytes; i++) {
        first[i] = random_byte();
    }
}

static const int32_t bias[OUT] = {100, -100, 3000, -3000};
static const uint8_t shift[1] = {SHIFT};
static const tq_requant requant = {.bias = bias,
                                   .shift = shift,
                                   .shift_step = 0,
                                   .rounding = TQ_ROUND_TFLITE,
                                   .lo = -128,
                                   .hi = 127};

static int32_t requantized(int32_t acc) {
    return tq_clamp(tq_round_shift_tflite(acc, SHIFT), -128, 127);
}

static int8_t image[SIZE * SIZE * IN];
static int8_t weights[OUT * TAPS];
static int8_t result[SIZE * SIZE * OUT];

static int32_t pixel(int32_t row, int32_t col, int32_t channel) {
    const int inside = row >= 0 && row < SIZE && col >= 0 && col < SIZE;
    return inside ? image[(row * SIZE + col) * IN + channel] : 0;
}

static int32_t expected_conv(int32_t row, int32_t col, int32_t o) {
    int32_t acc = bias[o];
    for (int32_t tap = 0; tap < TAPS; tap++) {
        const int32_t y = row + tap / (KERNEL * IN) - 1;
        const int32_t x = col + tap / IN % KERNEL - 1;
        acc += pixel(y, x, tap % IN) * weights[o * TAPS + tap];
    }
    return requantized(acc);
}

static void conv2d_int8(void) {
    const tq_conv2d layer = {
        .weights = {.codes = (const uint8_t *)weights, .table = 0, .channel_bytes = TAPS},
        .requant = requant,
        .dot = tq_dot_int8_s8,
        .input = {SIZE, SIZE, IN},
        .output = {SIZE, SIZE, OUT},
        .kernel = {KERNEL, KERNEL, 1, 1, 1, 1}};
    fill(image, sizeof image);
    fill(weights, sizeof weights);
    tq_run_conv2d(&layer, image, result);
    for (int32_t i = 0; i < SIZE * SIZE * OUT; i++) {
        TQ_EQUAL(expected_conv(i / OUT / SIZE, i / OUT % SIZE, i % OUT), result[i]);
    }
}

enum { INPUTS = 37, CODE_BYTES = (INPUTS + 1) / 2 };
static const int8_t table[16] = {-127, -90, -70, -50, -35, -20, -10, 0,
                                 5,    12,  25,  40,  60,  80,  100, 127};
static uint8_t vector[INPUTS];
static uint8_t codes[OUT * CODE_BYTES];

static int32_t expected_dense(int32_t o) {
    int32_t acc = bias[o];
    for (int32_t i = 0; i < INPUTS; i++) {
        const int32_t code = (codes[o * CODE_BYTES + i / 2] >> (4 * (i % 2))) & 15;
        acc += vector[i] * table[code];
    }
    return requantized(acc);
}

static void dense_lut4(void) {
    const tq_dense layer = {
        .weights = {.codes = codes, .table = table, .channel_bytes = CODE_BYTES},
        .requant = requant,
        .dot = tq_dot_lut4_u8,
        .inputs = INPUTS,
        .outputs = OUT};
    fill(vector, sizeof vector);
    fill(codes, sizeof codes);
    tq_run_dense(&layer, vector, result);
    for (int32_t o = 0; o < OUT; o++) {
        TQ_EQUAL(expected_dense(o), result[o]);
    }
}

int main(void) {
    TQ_RUN(conv2d_int8);
    TQ_RUN(dense_lut4);
    return 0;
}
