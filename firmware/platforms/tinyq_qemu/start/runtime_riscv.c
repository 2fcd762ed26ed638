/* SPDX-License-Identifier: Apache-2.0
 * The functions that GCC may call and that no C library is there to hold: RV32E has none in the
 * usual packages. */
#if defined(__riscv)

#include <stdint.h>
#include <string.h>

#define NO_CALL_OF_ITSELF __attribute__((optimize("no-tree-loop-distribute-patterns"), used))
#define ALIGNED(address)  (((uintptr_t)(address) & 3u) == 0)

NO_CALL_OF_ITSELF void *memcpy(void *to, const void *from, size_t bytes) {
    uint8_t *out = to;
    const uint8_t *in = from;
    if (ALIGNED(out) && ALIGNED(in)) {
        for (; bytes >= 4; bytes -= 4) {
            *(uint32_t *)(void *)out = *(const uint32_t *)(const void *)in;
            out += 4;
            in += 4;
        }
    }
    for (; bytes > 0; bytes--) {
        *out++ = *in++;
    }
    return to;
}

NO_CALL_OF_ITSELF void *memset(void *to, int value, size_t bytes) {
    uint8_t *out = to;
    const uint32_t byte = (uint8_t)value;
    const uint32_t word = byte | byte << 8 | byte << 16 | byte << 24;
    for (; bytes > 0 && !ALIGNED(out); bytes--) {
        *out++ = (uint8_t)byte;
    }
    for (; bytes >= 4; bytes -= 4) {
        *(uint32_t *)(void *)out = word;
        out += 4;
    }
    for (; bytes > 0; bytes--) {
        *out++ = (uint8_t)byte;
    }
    return to;
}

NO_CALL_OF_ITSELF void *memmove(void *to, const void *from, size_t bytes) {
    uint8_t *out = to;
    const uint8_t *in = from;
    if ((uintptr_t)out < (uintptr_t)in) {
        return memcpy(to, from, bytes);
    }
    while (bytes > 0) {
        bytes--;
        out[bytes] = in[bytes];
    }
    return to;
}

NO_CALL_OF_ITSELF int memcmp(const void *a, const void *b, size_t bytes) {
    const uint8_t *left = a;
    const uint8_t *right = b;
    for (; bytes > 0; bytes--) {
        if (*left != *right) {
            return *left < *right ? -1 : 1;
        }
        left++;
        right++;
    }
    return 0;
}

#else
typedef int runtime_not_riscv; /* ISO C wants a declaration in every file */
#endif
