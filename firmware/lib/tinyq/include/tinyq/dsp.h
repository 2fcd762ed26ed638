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

/* Four bytes to any address, as tq_load32. */
TQ_INLINE void tq_store32(void *to, uint32_t word) {
    memcpy(to, &word, sizeof word);
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
TQ_INSTRUCTION2(uadd8)  /* bytes a + b, each modulo 2^8 */

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

/* The same lanes added to those of sums, each modulo 2^16. */
#define TQ_EXTEND_ADD(name)                                                                        \
    TQ_INLINE uint32_t tq_##name(uint32_t sums, uint32_t bytes) {                                  \
        uint32_t result;                                                                           \
        __asm__(#name " %0, %1, %2" : "=r"(result) : "r"(sums), "r"(bytes));                       \
        return result;                                                                             \
    }                                                                                              \
    TQ_INLINE uint32_t tq_##name##_ror8(uint32_t sums, uint32_t bytes) {                           \
        uint32_t result;                                                                           \
        __asm__(#name " %0, %1, %2, ror #8" : "=r"(result) : "r"(sums), "r"(bytes));               \
        return result;                                                                             \
    }
TQ_EXTEND_ADD(sxtab16)
TQ_EXTEND_ADD(uxtab16)

/* The greater or smaller of each pair of bytes: the subtraction's GE flags, which no compiler keeps
 * from one statement to the next, select them. */
#define TQ_SELECT(name, subtract, greater, smaller)                                                \
    TQ_INLINE uint32_t tq_##name(uint32_t a, uint32_t b) {                                         \
        uint32_t difference;                                                                       \
        __asm__(#subtract " %1, %0, %2\n\tsel %0, %" #greater ", %" #smaller                       \
                : "+r"(a), "=&r"(difference)                                                       \
                : "r"(b)                                                                           \
                : "cc");                                                                           \
        return a;                                                                                  \
    }
TQ_SELECT(max_u8x4, usub8, 0, 2)
TQ_SELECT(max_s8x4, ssub8, 0, 2)
TQ_SELECT(min_u8x4, usub8, 2, 0)

/* Lanes clamped to 0..255. */
TQ_INLINE uint32_t tq_usat16_8(uint32_t lanes) {
    uint32_t result;
    __asm__("usat16 %0, #8, %1" : "=r"(result) : "r"(lanes));
    return result;
}

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
TQ_INLINE uint32_t tq_uadd8(uint32_t a, uint32_t b) {
    return ((a & 0x7F7F7F7FU) + (b & 0x7F7F7F7FU)) ^ ((a ^ b) & 0x80808080U);
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
TQ_INLINE uint32_t tq_uxtab16(uint32_t sums, uint32_t bytes) {
    return tq_sadd16(sums, tq_uxtb16(bytes));
}
TQ_INLINE uint32_t tq_uxtab16_ror8(uint32_t sums, uint32_t bytes) {
    return tq_sadd16(sums, tq_uxtb16_ror8(bytes));
}
TQ_INLINE uint32_t tq_sxtab16(uint32_t sums, uint32_t bytes) {
    return tq_sadd16(sums, tq_sxtb16(bytes));
}
TQ_INLINE uint32_t tq_sxtab16_ror8(uint32_t sums, uint32_t bytes) {
    return tq_sadd16(sums, tq_sxtb16_ror8(bytes));
}
TQ_INLINE uint32_t tq_byte_of(int32_t lane) {
    return (uint32_t)(lane < 0 ? 0 : lane > 255 ? 255 : lane);
}
TQ_INLINE uint32_t tq_usat16_8(uint32_t lanes) {
    return tq_byte_of(tq_low(lanes)) | tq_byte_of(tq_high(lanes)) << 16;
}
/* 255 in every byte where that of a, unsigned, is not less than that of b. The high bits of the
 * differences of the low 7 bits, which cannot borrow from one another, decide between equal high
 * bits. */
TQ_INLINE uint32_t tq_not_less_u8x4(uint32_t a, uint32_t b) {
    const uint32_t low = (a | 0x80808080U) - (b & 0x7F7F7F7FU);
    const uint32_t bits = ((a & ~b) | (~(a ^ b) & low)) & 0x80808080U;
    return (bits - (bits >> 7)) | bits;
}
TQ_INLINE uint32_t tq_max_u8x4(uint32_t a, uint32_t b) {
    const uint32_t mask = tq_not_less_u8x4(a, b);
    return (a & mask) | (b & ~mask);
}
TQ_INLINE uint32_t tq_min_u8x4(uint32_t a, uint32_t b) {
    const uint32_t mask = tq_not_less_u8x4(a, b);
    return (b & mask) | (a & ~mask);
}
TQ_INLINE uint32_t tq_max_s8x4(uint32_t a, uint32_t b) {
    return tq_max_u8x4(a ^ 0x80808080U, b ^ 0x80808080U) ^ 0x80808080U;
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
