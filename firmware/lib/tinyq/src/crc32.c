/* SPDX-License-Identifier: Apache-2.0 */
#include <tinyq/crc32.h>

/* Remainders of the 16 values of a nibble: 64 bytes instead of the usual 1024. */
static const uint32_t nibble_remainders[16] = {
    0x00000000, 0x1DB71064, 0x3B6E20C8, 0x26D930AC, 0x76DC4190, 0x6B6B51F4, 0x4DB26158, 0x5005713C,
    0xEDB88320, 0xF00F9344, 0xD6D6A3E8, 0xCB61B38C, 0x9B64C2B0, 0x86D3D2D4, 0xA00AE278, 0xBDBDF21C,
};

uint32_t tq_crc32(uint32_t crc, const void *data, uint32_t bytes) {
    const uint8_t *p = data;
    crc = ~crc;
    for (; bytes > 0; bytes--) {
        crc ^= *p++;
        crc = (crc >> 4) ^ nibble_remainders[crc & 15U];
        crc = (crc >> 4) ^ nibble_remainders[crc & 15U];
    }
    return ~crc;
}
