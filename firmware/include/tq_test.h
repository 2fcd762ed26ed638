/* SPDX-License-Identifier: Apache-2.0
 * Assertions for the programs in test/, in the line format that PlatformIO reads from Unity. A
 * program returns 0 when it has spoken: PlatformIO takes pass and fail from the lines. */
#ifndef TQ_TEST_H
#define TQ_TEST_H

#include <stdint.h>

#include "tq_port.h"

static const char *tq_test_name;
static int tq_test_failed;

static void tq_test_print_number(int64_t number) {
    char digits[24];
    char *first = digits + sizeof digits - 1;
    uint64_t rest = number < 0 ? 0u - (uint64_t)number : (uint64_t)number;
    *first = '\0';
    do {
        *--first = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest != 0);
    if (number < 0) {
        *--first = '-';
    }
    tq_port_print(first);
}

static void tq_test_print_place(const char *file, int line) {
    tq_port_print(file);
    tq_port_print(":");
    tq_test_print_number(line);
    tq_port_print(":");
    tq_port_print(tq_test_name);
}

static void tq_test_equal(const char *file, int line, int64_t expected, int64_t got) {
    if (expected == got || tq_test_failed) {
        return;
    }
    tq_test_failed = 1;
    tq_test_print_place(file, line);
    tq_port_print(":FAIL: Expected ");
    tq_test_print_number(expected);
    tq_port_print(" Was ");
    tq_test_print_number(got);
    tq_port_print("\n");
}

static void tq_test_run(const char *file, int line, const char *name, void (*test)(void)) {
    tq_test_name = name;
    tq_test_failed = 0;
    test();
    if (!tq_test_failed) {
        tq_test_print_place(file, line);
        tq_port_print(":PASS\n");
    }
}

#define TQ_EQUAL(expected, got) tq_test_equal(__FILE__, __LINE__, (expected), (got))
#define TQ_RUN(test)            tq_test_run(__FILE__, __LINE__, #test, test)

#endif
