/* SPDX-License-Identifier: Apache-2.0
 * The port over Arm semihosting (BKPT 0xAB), a few hundred bytes and no libc. Semantics:
 * "Semihosting for AArch32 and AArch64", Arm. An emulator that serves no files answers 0 or -1 to
 * SYS_OPEN. */
#if defined(__arm__)

#include "tq_port.h"

enum {
    SYS_OPEN = 0x01,
    SYS_CLOSE = 0x02,
    SYS_WRITE0 = 0x04,
    SYS_WRITE = 0x05,
    SYS_READ = 0x06,
    SYS_SEEK = 0x0A,
    SYS_EXIT_EXTENDED = 0x20
};
enum { OPEN_RB = 1, OPEN_WB = 5 };
#define ADP_STOPPED_APPLICATION_EXIT 0x20026u

static uint32_t semihosting_call(uint32_t operation, const void *block) {
    register uint32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = block;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static uint32_t text_length(const char *text) {
    const volatile char *end = text; /* volatile: or it becomes a call of strlen */
    while (*end != '\0') {
        end++;
    }
    return (uint32_t)(end - text);
}

int tq_port_open(const char *name, tq_port_mode mode) {
    const uint32_t block[3] = {(uint32_t)name, mode == TQ_PORT_READ ? OPEN_RB : OPEN_WB,
                               text_length(name)};
    const int handle = (int)semihosting_call(SYS_OPEN, block);
    return handle > 0 ? handle : -1;
}

uint32_t tq_port_read(int handle, void *to, uint32_t bytes) {
    const uint32_t block[3] = {(uint32_t)handle, (uint32_t)to, bytes};
    return bytes - semihosting_call(SYS_READ, block);
}

uint32_t tq_port_write(int handle, const void *from, uint32_t bytes) {
    const uint32_t block[3] = {(uint32_t)handle, (uint32_t)from, bytes};
    return semihosting_call(SYS_WRITE, block);
}

int tq_port_seek(int handle, uint32_t offset) {
    const uint32_t block[2] = {(uint32_t)handle, offset};
    return semihosting_call(SYS_SEEK, block) == 0 ? 0 : -1;
}

void tq_port_close(int handle) {
    const uint32_t block[1] = {(uint32_t)handle};
    (void)semihosting_call(SYS_CLOSE, block);
}

void tq_port_print(const char *text) {
    (void)semihosting_call(SYS_WRITE0, text);
}

void tq_port_exit(int code) {
    const uint32_t block[2] = {ADP_STOPPED_APPLICATION_EXIT, (uint32_t)code};
    (void)semihosting_call(SYS_EXIT_EXTENDED, block);
    for (;;) {
    }
}

#define REGISTER(address) (*(volatile uint32_t *)(address))

#if defined(TQ_CLOCK_FPGAIO) /* Arm MPS2 and MPS3: COUNTER, one step per clock with PRESCALE 0 */

void tq_port_clock_start(void) {
    REGISTER(TQ_CLOCK_BASE + 0x1Cu) = 0;
    REGISTER(TQ_CLOCK_BASE + 0x18u) = 0;
}

uint32_t tq_port_clock(void) {
    return REGISTER(TQ_CLOCK_BASE + 0x18u);
}

#elif defined(                                                                                     \
    TQ_CLOCK_NRF51) /* TIMER0 of the nRF51, 32 bits at 16 MHz; a capture makes it readable */

void tq_port_clock_start(void) {
    REGISTER(TQ_CLOCK_BASE + 0x508u) = 3; /* BITMODE: 32 bits */
    REGISTER(TQ_CLOCK_BASE + 0x510u) = 0; /* PRESCALER: 16 MHz */
    REGISTER(TQ_CLOCK_BASE + 0x000u) = 1; /* TASKS_START */
}

uint32_t tq_port_clock(void) {
    REGISTER(TQ_CLOCK_BASE + 0x040u) = 1; /* TASKS_CAPTURE[0] */
    return REGISTER(TQ_CLOCK_BASE + 0x540u);
}

#else
#error "the board's JSON names no clock: TQ_CLOCK_FPGAIO or TQ_CLOCK_NRF51"
#endif

/* Naked: the compiler must add no instruction between the calls. */
__attribute__((naked)) int
tq_port_measure(__attribute__((unused)) void (*stamp)(void *, unsigned, const void *, uint32_t),
                __attribute__((unused)) void (*invoke)(void)) {
    __asm__ volatile("push {r4, r5, r6, lr}\n\t"
                     "mov r4, r0\n\t"
                     "mov r5, r1\n\t"
                     "blx r4\n\t"
                     "blx r4\n\t"
                     "blx r5\n\t"
                     "blx r4\n\t"
                     "movs r0, #0\n\t"
                     "pop {r4, r5, r6, pc}");
}

#else
typedef int tq_port_not_semihosting; /* ISO C wants a declaration in every file */
#endif
