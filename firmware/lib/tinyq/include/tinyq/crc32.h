/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINYQ_CRC32_H
#define TINYQ_CRC32_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* CRC-32 as in zlib, PNG and Ethernet (polynomial 0xEDB88320, reflected). Start with crc = 0; feed
 * a result back in to continue: tq_crc32(tq_crc32(0, a, n), b, m) is the CRC of a followed by b. */
uint32_t tq_crc32(uint32_t crc, const void *data, uint32_t bytes);

#ifdef __cplusplus
}
#endif

#endif
