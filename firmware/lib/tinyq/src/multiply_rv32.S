/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Products on a RISC-V core without a multiplier, in place of libgcc's bit by bit.
 *
 * a * b = q(|a + b|) - q(|a - b|) with q(n) = floor(n^2 / 4), exactly: a + b and a - b are both even
 * or both odd. Activations and weights are small enough for a table of q: 25 instructions, always.
 * Anything larger is multiplied bit by bit. Weak, so that a program may bring its own.
 */
#if defined(__riscv) && !defined(__riscv_mul) && __riscv_xlen == 32

/* libgcc's own products of 64 bits rely on it that no other register changes. */
#define A          a0 /* first factor, then the product */
#define B          a1 /* second factor */
#define SUM        a2
#define DIFFERENCE a3

    .section .text.__mulsi3, "ax", @progbits
    .balign 4
    .weak __mulsi3
    .type __mulsi3, @function
__mulsi3:
    /* both factors in -255..255, so that sum and difference are within the table? */
    addi a2, A, 255
    addi a3, B, 255
    sltiu a2, a2, 511
    sltiu a3, a3, 511
    and a2, a2, a3
    beqz a2, 1f
    add SUM, A, B
    sub DIFFERENCE, A, B
    srai a0, SUM, 31
    xor SUM, SUM, a0
    sub SUM, SUM, a0
    srai a0, DIFFERENCE, 31
    xor DIFFERENCE, DIFFERENCE, a0
    sub DIFFERENCE, DIFFERENCE, a0
    la a0, quarter_squares
    slli SUM, SUM, 1
    add SUM, SUM, a0
    lhu SUM, 0(SUM)
    slli DIFFERENCE, DIFFERENCE, 1
    add DIFFERENCE, DIFFERENCE, a0
    lhu DIFFERENCE, 0(DIFFERENCE)
    sub A, SUM, DIFFERENCE
    ret
1:  mv a2, A
    li A, 0
2:  andi a3, B, 1
    neg a3, a3
    and a3, a3, a2
    add A, A, a3
    slli a2, a2, 1
    srli B, B, 1
    bnez B, 2b
    ret
    .size __mulsi3, . - __mulsi3

    .section .rodata.quarter_squares, "a", @progbits
    .balign 2
    .type quarter_squares, @object
quarter_squares: /* q(0) .. q(510) */
    .set n, 0
    .rept 511
    .half n * n / 4
    .set n, n + 1
    .endr
    .size quarter_squares, . - quarter_squares

#endif
