/* SPDX-License-Identifier: Apache-2.0
 * Start-up of the emulated boards: vectors, .data and .bss, floating-point and vector unit, a
 * painted stack, and the way out. Deliberately absent: clocks, interrupts, C++ constructors.
 *
 * Any fault ends the run with exit code 128 + its exception number (131 is a hard fault), so that
 * it can be told from every code of the program itself. */
#include <stdint.h>

#include "tq_port.h"

extern uint32_t __stack_top, __stack_limit, __data_load;
extern uint32_t __data_start, __data_end, __bss_start, __bss_end;
int main(void);
void Reset_Handler(void);

/* Painting all of a 4 MB RAM would take longer than most runs: the watermark looks this far down.
 */
#define PAINT_MAX 0x10000u
#define PAINT     0x5A17EDC7u

static uint32_t *paint_floor(void) {
    const uintptr_t top = (uintptr_t)&__stack_top;
    const uintptr_t limit = (uintptr_t)&__stack_limit;
    return (uint32_t *)(top - limit > PAINT_MAX ? top - PAINT_MAX : limit);
}

uint32_t tq_port_stack_used(void) {
    const uint32_t *word = paint_floor();
    while (word < &__stack_top && *word == PAINT) {
        word++;
    }
    return (uint32_t)((uintptr_t)&__stack_top - (uintptr_t)word);
}

int tq_port_stack_intact(void) {
    const uint32_t *const floor = paint_floor();
    return floor != &__stack_limit || *floor == PAINT;
}

/* volatile: none of these loops may become a call of memcpy or memset, which would use the stack
 * that is being painted. */
static void memory_init(void) {
    const volatile uint32_t *from = &__data_load;
    volatile uint32_t *to;
    for (to = &__data_start; to < &__data_end; to++) {
        *to = *from++;
    }
    for (to = &__bss_start; to < &__bss_end; to++) {
        *to = 0;
    }
}

static void stack_paint(void) {
    volatile uint32_t *word = paint_floor();
    volatile uint32_t *end = (volatile uint32_t *)__builtin_frame_address(0) - 16;
    while (word < end) {
        *word++ = PAINT;
    }
}

static void coprocessors_enable(void) {
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
    volatile uint32_t *const cpacr = (volatile uint32_t *)0xE000ED88u;
    *cpacr |= 0xFu << 20;
    __asm__ volatile("dsb\n\tisb" ::: "memory");
#endif
}

__attribute__((noreturn, used)) void Reset_Handler(void) {
    memory_init();
    stack_paint();
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
