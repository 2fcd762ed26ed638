/* SPDX-License-Identifier: Apache-2.0
 * Start-up of the emulated boards, what all cores share: .data and .bss, and a painted stack.
 * Deliberately absent: clocks, interrupts, C++ constructors. */
#include "start.h"

#include "tq_port.h"

extern uint32_t __stack_limit, __data_load;
extern uint32_t __data_start, __data_end, __bss_start, __bss_end;

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

uint32_t tq_port_stack_depth(void) {
    return (uint32_t)((uintptr_t)&__stack_top - (uintptr_t)__builtin_frame_address(0));
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

void start_memory(void) {
    memory_init();
    stack_paint();
}
