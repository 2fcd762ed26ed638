/* SPDX-License-Identifier: Apache-2.0
 * The port over semihosting, a few hundred bytes and no libc. Semantics: "Semihosting for AArch32
 * and AArch64", Arm, which "RISC-V Semihosting" takes over. An emulator that serves no files
 * answers 0 or -1 to SYS_OPEN. */
#include "tq_port.h"

#if defined(TQ_PORT_SEMIHOSTING)

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

#if defined(__riscv)

/* The three instructions, none of them compressed and all in one page, are the call. */
static uint32_t semihosting_call(uint32_t operation, const void *block) {
    register uint32_t a0 __asm__("a0") = operation;
    register const void *a1 __asm__("a1") = block;
    __asm__ volatile(".option push\n\t"
                     ".option norvc\n\t"
                     ".balign 16\n\t"
                     "slli zero, zero, 0x1f\n\t"
                     "ebreak\n\t"
                     "srai zero, zero, 7\n\t"
                     ".option pop"
                     : "+r"(a0)
                     : "r"(a1)
                     : "memory");
    return a0;
}

#else

static uint32_t semihosting_call(uint32_t operation, const void *block) {
    register uint32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = block;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

#endif

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

#elif defined(TQ_CLOCK_MTIME) /* the low word of a RISC-V machine's timer, which always runs */

void tq_port_clock_start(void) {
}

uint32_t tq_port_clock(void) {
    return REGISTER(TQ_CLOCK_BASE);
}

#else
#error "the board's JSON names no clock: TQ_CLOCK_FPGAIO, TQ_CLOCK_NRF51 or TQ_CLOCK_MTIME"
#endif

/* Naked: the compiler must add no instruction between the calls. */
#if defined(__riscv)

__attribute__((naked)) int
tq_port_measure(__attribute__((unused)) void (*stamp)(void *, unsigned, const void *, uint32_t),
                __attribute__((unused)) void (*invoke)(void)) {
    __asm__ volatile("addi sp, sp, -12\n\t"
                     "sw ra, 8(sp)\n\t"
                     "sw s0, 4(sp)\n\t"
                     "sw s1, 0(sp)\n\t"
                     "mv s0, a0\n\t"
                     "mv s1, a1\n\t"
                     "jalr s0\n\t"
                     "jalr s0\n\t"
                     "jalr s1\n\t"
                     "jalr s0\n\t"
                     "li a0, 0\n\t"
                     "lw s1, 0(sp)\n\t"
                     "lw s0, 4(sp)\n\t"
                     "lw ra, 8(sp)\n\t"
                     "addi sp, sp, 12\n\t"
                     "ret");
}

#else

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

#endif

#else
typedef int tq_port_not_semihosting; /* ISO C wants a declaration in every file */
#endif
