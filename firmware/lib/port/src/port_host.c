/* SPDX-License-Identifier: Apache-2.0
 * The port over the host's stdio. No clock: instructions are counted on emulated cores only. */
#include "tq_port.h"

#if !defined(TQ_PORT_SEMIHOSTING)

#include <stdio.h>
#include <stdlib.h>

enum { FILES = 8 };
static FILE *files[FILES];

int tq_port_open(const char *name, tq_port_mode mode) {
    int handle = 1;
    while (handle < FILES && files[handle] != NULL) {
        handle++;
    }
    if (handle == FILES) {
        return -1;
    }
    files[handle] = fopen(name, mode == TQ_PORT_READ ? "rb" : "wb");
    return files[handle] != NULL ? handle : -1;
}

uint32_t tq_port_read(int handle, void *to, uint32_t bytes) {
    return (uint32_t)fread(to, 1, bytes, files[handle]);
}

uint32_t tq_port_write(int handle, const void *from, uint32_t bytes) {
    return bytes - (uint32_t)fwrite(from, 1, bytes, files[handle]);
}

int tq_port_seek(int handle, uint32_t offset) {
    return fseek(files[handle], (long)offset, SEEK_SET) == 0 ? 0 : -1;
}

void tq_port_close(int handle) {
    (void)fclose(files[handle]);
    files[handle] = NULL;
}

void tq_port_print(const char *text) {
    (void)fputs(text, stdout);
}

void tq_port_clock_start(void) {
}

uint32_t tq_port_clock(void) {
    return 0;
}

int tq_port_measure(void (*stamp)(void *, unsigned, const void *, uint32_t), void (*invoke)(void)) {
    (void)stamp;
    (void)invoke;
    return -1;
}

uint32_t tq_port_stack_used(void) {
    return 0;
}

uint32_t tq_port_stack_depth(void) {
    return 0;
}

int tq_port_stack_intact(void) {
    return 1;
}

void tq_port_exit(int code) {
    exit(code);
}

#else
typedef int tq_port_not_host; /* ISO C wants a declaration in every file */
#endif
