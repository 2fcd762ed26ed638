/* SPDX-License-Identifier: Apache-2.0
 * Start-up of a Cortex-M: vectors, floating-point and vector unit.
 *
 * Any fault ends the run with exit code 128 + its exception number (131 is a hard fault), so that
 * it can be told from every code of the program itself. */
#if defined(__arm__)

#include "start.h"
#include "tq_port.h"

void Reset_Handler(void);

static void coprocessors_enable(void) {
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
    volatile uint32_t *const cpacr = (volatile uint32_t *)0xE000ED88u;
    *cpacr |= 0xFu << 20;
    __asm__ volatile("dsb\n\tisb" ::: "memory");
#endif
}

__attribute__((noreturn, used)) void Reset_Handler(void) {
    start_memory();
    coprocessors_enable();
    tq_port_exit(main());
}

__attribute__((noreturn, used)) static void Fault_Handler(void) {
    uint32_t exception;
    __asm__ volatile("mrs %0, ipsr" : "=r"(exception));
    tq_port_exit((int)(128u + (exception & 0x7Fu)));
}

typedef union vector {
    uint32_t *stack;
    void (*handler)(void);
} vector;

__attribute__((section(".vectors"), used)) static const vector vectors[16] = {
    {.stack = &__stack_top},
    {.handler = Reset_Handler},
    {.handler = Fault_Handler}, /* NMI */
    {.handler = Fault_Handler}, /* HardFault */
    {.handler = Fault_Handler}, /* MemManage */
    {.handler = Fault_Handler}, /* BusFault */
    {.handler = Fault_Handler}, /* UsageFault */
    {.handler = Fault_Handler}, /* SecureFault */
    {.handler = 0},
    {.handler = 0},
    {.handler = 0},
    {.handler = Fault_Handler}, /* SVCall */
    {.handler = Fault_Handler}, /* DebugMonitor */
    {.handler = 0},
    {.handler = Fault_Handler}, /* PendSV */
    {.handler = Fault_Handler}, /* SysTick */
};

#else
typedef int start_not_arm; /* ISO C wants a declaration in every file */
#endif
