/* SPDX-License-Identifier: Apache-2.0
 * What the harness and the tests need of the machine below: files, a line of text, a clock, the way
 * out. Two implementations: semihosting (emulated cores) and the host's stdio (native). Neither
 * is part of the product; the kernels and the models never call it. */
#ifndef TQ_PORT_H
#define TQ_PORT_H

#include <stdint.h>

#if defined(__arm__) || (defined(__riscv) && __riscv_xlen == 32)
#define TQ_PORT_SEMIHOSTING
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef enum tq_port_mode { TQ_PORT_READ, TQ_PORT_WRITE } tq_port_mode;

/* A handle (> 0) for the file in the working directory, or -1. WRITE truncates. */
int tq_port_open(const char *name, tq_port_mode mode);
/* Bytes read into `to`: fewer than `bytes` only at the end of the file. */
uint32_t tq_port_read(int handle, void *to, uint32_t bytes);
/* Bytes that were NOT written: 0 when all is well. Its path does not depend on the data. */
uint32_t tq_port_write(int handle, const void *from, uint32_t bytes);
/* Moves to `offset` bytes from the start; 0, or -1. */
int tq_port_seek(int handle, uint32_t offset);
void tq_port_close(int handle);

/* Writes text to the console; no newline is added. */
void tq_port_print(const char *text);

/* The board's clock counter, modulo 2^32; constant 0 where there is none. */
void tq_port_clock_start(void);
uint32_t tq_port_clock(void);
/* Calls stamp, stamp, invoke, stamp with nothing but the four calls in between, so that the
 * interval of the first two stamps calibrates the others. Returns 0, or -1 where instructions
 * cannot be counted. */
int tq_port_measure(void (*stamp)(void *, unsigned, const void *, uint32_t), void (*invoke)(void));

/* The deepest use of the stack so far in bytes; 0 where it is not known. */
uint32_t tq_port_stack_used(void);
/* The stack in use where it is called, in bytes; 0 where it is not known. */
uint32_t tq_port_stack_depth(void);
/* 0 when the stack has run into the data below it. */
int tq_port_stack_intact(void);

__attribute__((noreturn)) void tq_port_exit(int code);

#ifdef __cplusplus
}
#endif

#endif
