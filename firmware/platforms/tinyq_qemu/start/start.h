/* SPDX-License-Identifier: Apache-2.0 */
#ifndef START_H
#define START_H

#include <stdint.h>

extern uint32_t __stack_top;
int main(void);

/* .data, .bss and the pattern below the stack pointer that shows how deep the stack went. */
void start_memory(void);

#endif
