/* SPDX-License-Identifier: Apache-2.0
 * Rounding, clamping and CRC: the arithmetic that all kernels rest on, on this core's own compiler.
 */
#include "tinyq/arith.h"
#include "tinyq/crc32.h"
#include "tq_test.h"

/* Half goes away from zero from n = 2 up, and up for n = 1. */
static void round_shift_tflite(void) {
    TQ_EQUAL(-7, tq_round_shift_tflite(-7, 0));
    TQ_EQUAL(2, tq_round_shift_tflite(3, 1));
    TQ_EQUAL(-1, tq_round_shift_tflite(-3, 1));
    TQ_EQUAL(2, tq_round_shift_tflite(6, 2));
    TQ_EQUAL(-2, tq_round_shift_tflite(-6, 2));
    TQ_EQUAL(-1, tq_round_shift_tflite(-5, 2));
    TQ_EQUAL(0, tq_round_shift_tflite(1 << 29, 31));
}

static void round_shift_away(void) {
    TQ_EQUAL(5, tq_round_shift_away(5, 0));
    TQ_EQUAL(2, tq_round_shift_away(3, 1));
    TQ_EQUAL(-2, tq_round_shift_away(-3, 1));
    TQ_EQUAL(-2, tq_round_shift_away(-6, 2));
}

/* On cores without a divider this goes through libgcc. */
static void divide_away(void) {
    TQ_EQUAL(3, tq_divide_away(5, 2));
    TQ_EQUAL(-3, tq_divide_away(-5, 2));
    TQ_EQUAL(2, tq_divide_away(16, 9));
    TQ_EQUAL(-128, tq_divide_away(-128 * 49, 49));
}

static void clamp_and_read(void) {
    TQ_EQUAL(-128, tq_clamp(-129, -128, 127));
    TQ_EQUAL(255, tq_clamp(300, 0, 255));
    TQ_EQUAL(7, tq_clamp(7, 0, 255));
    TQ_EQUAL(-1, tq_read(0xFF, tq_sign_bit(1)));
    TQ_EQUAL(255, tq_read(0xFF, tq_sign_bit(0)));
}

/* The check value of CRC-32/ISO-HDLC. */
static void crc32_check_value(void) {
    static const char digits[] = "123456789";
    TQ_EQUAL(0xCBF43926, tq_crc32(0, digits, 9));
    TQ_EQUAL(0xCBF43926, tq_crc32(tq_crc32(0, digits, 4), digits + 4, 5));
}

int main(void) {
    TQ_RUN(round_shift_tflite);
    TQ_RUN(round_shift_away);
    TQ_RUN(divide_away);
    TQ_RUN(clamp_and_read);
    TQ_RUN(crc32_check_value);
    return 0;
}
