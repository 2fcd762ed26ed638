/* SPDX-License-Identifier: Apache-2.0
 * Start-up of a RISC-V core that begins at the first word of its flash.
 *
 * Any trap ends the run with exit code 144 + its cause (146 is an illegal instruction), so that it
 * can be told from every code of the program itself. */
#if defined(__riscv)

#include "start.h"
#include "tq_port.h"

void Reset_Handler(void);
void start_main(void);
void start_fault(uint32_t cause);

/* The control registers' instructions are an extension that GCC is not told of: only this needs
 * them, every core that traps has them. */
__attribute__((naked, section(".vectors"), used)) void Reset_Handler(void) {
    __asm__ volatile(".option push\n\t"
                     ".option arch, +zicsr\n\t"
                     "la sp, __stack_top\n\t"
                     "la t0, 1f\n\t"
                     "csrw mtvec, t0\n\t"
                     "j start_main\n\t"
                     ".balign 4\n\t"
                     "1: la sp, __stack_top\n\t"
                     "csrr a0, mcause\n\t"
                     "j start_fault\n\t"
                     ".option pop");
}

__attribute__((noreturn, used)) void start_main(void) {
    start_memory();
    tq_port_exit(main());
}

__attribute__((noreturn, used)) void start_fault(uint32_t cause) {
    tq_port_exit((int)(144u + (cause & 0xFu)));
}

#else
typedef int start_not_riscv; /* ISO C wants a declaration in every file */
#endif
