/* SPDX-License-Identifier: Apache-2.0 */
/* Private to src/: a body that is specialised by constant arguments of its callers. */
#ifndef TINYQ_INLINE_H
#define TINYQ_INLINE_H

#if defined(__GNUC__)
#define ALWAYS_INLINE static inline __attribute__((always_inline))
#else
#define ALWAYS_INLINE static inline
#endif

#endif
