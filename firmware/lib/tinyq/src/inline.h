/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hints for the compiler, private to src/. ALWAYS_INLINE: a body that is specialised by constant
 * arguments. KEEP_APART: an inner loop that needs all registers, which inlining would make it share
 * with the loops around it.
 */
#ifndef TINYQ_INLINE_H
#define TINYQ_INLINE_H

#if defined(__GNUC__)
#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define KEEP_APART    static __attribute__((noinline))
#else
#define ALWAYS_INLINE static inline
#define KEEP_APART    static
#endif

#endif
