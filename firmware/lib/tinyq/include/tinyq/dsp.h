/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Instructions of the DSP extension (Cortex-M4, M7, M33) as functions, and what they compute in
 * plain C for every other machine: kernels that use them are exact everywhere.
 *
 * A word of two lanes: low = bits 0..15, high = bits 16..31, both signed. Sums wrap modulo 2^32.
 */
#ifndef TINYQ_DSP_H
#define TINYQ_DSP_H

#include <stdint.h>
#include <string.h>

#if defined(__ARM_FEATURE_DSP) && __ARM_FEATURE_DSP && defined(__GNUC__)
#define TQ_HAS_DSP 1
#else
#define TQ_HAS_DSP 0
#endif

/* Inline even in code that is compiled for size. */
#if defined(__GNUC__)
#define TQ_INLINE static inline __attribute__((always_inline))
#else
#define TQ_INLINE static inline
#endif

/* Four bytes at any address that the core can load a word from: unaligned on ARMv7-M and later. */
TQ_INLINE uint32_t tq_load32(const void *from) {
    uint32_t word;
    memcpy(&word, from, sizeof word);
    return word;
}

TQ_INLINE int32_t tq_low(uint32_t lanes) {
    return (int32_t)((lanes & 0xFFFFU) ^ 0x8000U) - 0x8000;
}

TQ_INLINE int32_t tq_high(uint32_t lanes) {
    return tq_low(lanes >> 16);
}

#if TQ_HAS_DSP
/* The name of a function of two or three words that is one instruction. */
#define TQ_INSTRUCTION2(name)                                                                      \
    TQ_INLINE uint32_t tq_##name(uint32_t a, uint32_t b) {                                         \
        uint32_t result;                                                                           \
        __asm__(#name " %0, %1, %2" : "=r"(result) : "r"(a), "r"(b));                              \
        return result;                                                                             \
    }
#define TQ_INSTRUCTION3(name)                                                                      \
    TQ_INLINE uint32_t tq_##name(uint32_t a, uint32_t b, uint32_t sum) {                           \
        uint32_t result;                                                                           \
        __asm__(#name " %0, %1, %2, %3" : "=r"(result) : "r"(a), "r"(b), "r"(sum));                \
        return result;                                                                             \
    }
TQ_INSTRUCTION3(smlad)  /* sum + low(a) * low(b) + high(a) * high(b) */
TQ_INSTRUCTION3(smladx) /* sum + low(a) * high(b) + high(a) * low(b) */
TQ_INSTRUCTION3(smlabb) /* sum + low(a) * low(b) */
TQ_INSTRUCTION3(smlabt) /* sum + low(a) * high(b) */
TQ_INSTRUCTION3(smlatb) /* sum + high(a) * low(b) */
TQ_INSTRUCTION3(smlatt) /* sum + high(a) * high(b) */
TQ_INSTRUCTION2(sadd16) /* lanes a + b, each modulo 2^16 */

/* Bytes 0 and 2 (ror 8: 1 and 3) as lanes, sign- or zero-extended. */
#define TQ_EXTEND(name)                                                                            \
    TQ_INLINE uint32_t tq_##name(uint32_t bytes) {                                                 \
        uint32_t result;                                                                           \
        __asm__(#name " %0, %1" : "=r"(result) : "r"(bytes));                                      \
        return result;                                                                             \
    }                                                                                              \
    TQ_INLINE uint32_t tq_##name##_ror8(uint32_t bytes) {                                          \
        uint32_t result;                                                                           \
        __asm__(#name " %0, %1, ror #8" : "=r"(result) : "r"(bytes));                              \
        return result;                                                                             \
    }
TQ_EXTEND(sxtb16)
TQ_EXTEND(uxtb16)

/* low(a) | high lane from b << 16, and low lane from a >> 16 | high(b). */
TQ_INLINE uint32_t tq_pkhbt(uint32_t a, uint32_t b) {
    uint32_t result;
    __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(result) : "r"(a), "r"(b));
    return result;
}
TQ_INLINE uint32_t tq_pkhtb(uint32_t a, uint32_t b) {
    uint32_t result;
    __asm__("pkhtb %0, %2, %1, asr #16" : "=r"(result) : "r"(a), "r"(b));
    return result;
}

/* sum + a * b in 64 bits, signed. */
TQ_INLINE int64_t tq_smlal(int32_t a, int32_t b, int64_t sum) {
    uint32_t low = (uint32_t)sum;
    uint32_t high = (uint32_t)((uint64_t)sum >> 32);
    __asm__("smlal %0, %1, %2, %3" : "+r"(low), "+r"(high) : "r"(a), "r"(b));
    return (int64_t)((uint64_t)high << 32 | low);
}
#else
TQ_INLINE uint32_t tq_product(int32_t a, int32_t b) {
    return (uint32_t)a * (uint32_t)b;
}
TQ_INLINE uint32_t tq_smlad(uint32_t a, uint32_t b, uint32_t sum) {
    return sum + tq_product(tq_low(a), tq_low(b)) + tq_product(tq_high(a), tq_high(b));
}
TQ_INLINE uint32_t tq_smladx(uint32_t a, uint32_t b, uint32_t sum) {
    return sum + tq_product(tq_low(a), tq_high(b)) + tq_product(tq_high(a), tq_low(b));
}
TQ_INLINE uint32_t tq_smlabb(uint32_t a, uint32_t b, uint32_t sum) {
    return sum + tq_product(tq_low(a), tq_low(b));
}
TQ_INLINE uint32_t tq_smlabt(uint32_t a, uint32_t b, uint32_t sum) {
    return sum + tq_product(tq_low(a), tq_high(b));
}
TQ_INLINE uint32_t tq_smlatb(uint32_t a, uint32_t b, uint32_t sum) {
    return sum + tq_product(tq_high(a), tq_low(b));
}
TQ_INLINE uint32_t tq_smlatt(uint32_t a, uint32_t b, uint32_t sum) {
    return sum + tq_product(tq_high(a), tq_high(b));
}
TQ_INLINE uint32_t tq_sadd16(uint32_t a, uint32_t b) {
    return ((a + b) & 0xFFFFU) | ((a & 0xFFFF0000U) + (b & 0xFFFF0000U));
}
TQ_INLINE uint32_t tq_uxtb16(uint32_t bytes) {
    return bytes & 0x00FF00FFU;
}
TQ_INLINE uint32_t tq_uxtb16_ror8(uint32_t bytes) {
    return tq_uxtb16(bytes >> 8);
}
TQ_INLINE uint32_t tq_sxtb16(uint32_t bytes) {
    const uint32_t negative = bytes & 0x00800080U;
    return tq_uxtb16(bytes) | ((negative << 9) - (negative << 1));
}
TQ_INLINE uint32_t tq_sxtb16_ror8(uint32_t bytes) {
    return tq_sxtb16(bytes >> 8);
}
TQ_INLINE uint32_t tq_pkhbt(uint32_t a, uint32_t b) {
    return (a & 0xFFFFU) | b << 16;
}
TQ_INLINE uint32_t tq_pkhtb(uint32_t a, uint32_t b) {
    return (a >> 16) | (b & 0xFFFF0000U);
}
TQ_INLINE int64_t tq_smlal(int32_t a, int32_t b, int64_t sum) {
    return (int64_t)((uint64_t)sum + (uint64_t)((int64_t)a * b));
}
#endif

/* value clamped to -2^(bits-1)..2^(bits-1)-1 (ssat) or 0..2^bits-1 (usat); bits is a constant. */
#if defined(__ARM_FEATURE_SAT) && __ARM_FEATURE_SAT && defined(__GNUC__)
#define TQ_SATURATE(name, value, bits)                                                             \
    __extension__({                                                                                \
        int32_t tq_result;                                                                         \
        __asm__(#name " %0, %1, %2" : "=r"(tq_result) : "I"(bits), "r"(value));                    \
        tq_result;                                                                                 \
    })
#define TQ_SSAT(value, bits) TQ_SATURATE(ssat, value, bits)
#define TQ_USAT(value, bits) TQ_SATURATE(usat, value, bits)
#else
TQ_INLINE int32_t tq_between(int32_t value, int32_t lo, int32_t hi) {
    return value < lo ? lo : value > hi ? hi : value;
}
#define TQ_SSAT(value, bits) tq_between((value), -(1 << ((bits) - 1)), (1 << ((bits) - 1)) - 1)
#define TQ_USAT(value, bits) tq_between((value), 0, (int32_t)((UINT32_C(1) << (bits)) - 1U))
#endif

#endif
