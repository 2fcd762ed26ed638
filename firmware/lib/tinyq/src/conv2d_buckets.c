/* SPDX-License-Identifier: Apache-2.0 */
#include <tinyq/conv2d_buckets.h>

#include <stddef.h>

#if defined(__GNUC__)
#define NOT_INLINED static __attribute__((noinline))
#else
#define NOT_INLINED static
#endif

enum { CODES = 16 };

/* One by one: a call of memset would take longer. */
#define CLEAR4(b, c) ((b)[(c)] = 0, (b)[(c) + 1] = 0, (b)[(c) + 2] = 0, (b)[(c) + 3] = 0)

/* Adds two words to the buckets of the two codes of a byte, the low one first. */
#define ADD_BOTH(byte, x, buckets)                                                                 \
    do {                                                                                           \
        const uint32_t both = (byte);                                                              \
        (buckets)[both & 15U] += (x)[0];                                                           \
        (buckets)[both >> 4] += (x)[1];                                                            \
    } while (0)

/* Adds every word to the bucket of its code. Not inlined: there its pointers stay in registers. */
NOT_INLINED void fill(const uint8_t *codes, const uint32_t *x, uint32_t count, uint32_t *buckets) {
    const uint32_t *const end = x + (count & ~7U);
    CLEAR4(buckets, 0);
    CLEAR4(buckets, 4);
    CLEAR4(buckets, 8);
    CLEAR4(buckets, 12);
    for (; x != end; x += 8, codes += 4) {
        ADD_BOTH(codes[0], x, buckets);
        ADD_BOTH(codes[1], x + 2, buckets);
        ADD_BOTH(codes[2], x + 4, buckets);
        ADD_BOTH(codes[3], x + 6, buckets);
    }
    for (count &= 7U; count > 1; count -= 2, x += 2) {
        ADD_BOTH(*codes++, x, buckets);
    }
    if (count > 0) {
        buckets[*codes & 15U] += *x;
    }
}

void tq_put_buckets(tq_pot_pairs *pairs) {
    const tq_conv2d_buckets *const layer = (const void *)pairs->layer;
    const uint32_t channels = layer->windows.output.channels;
    const uint32_t count = layer->windows.kernel.height * pairs->run;
    uint32_t words[TQ_BUCKETS_WORDS];
    uint32_t buckets[CODES];
    int32_t lows[TQ_CHANNEL_CHUNK];
    int32_t highs[TQ_CHANNEL_CHUNK];
    while (tq_pot_next(pairs, words)) {
        const uint8_t *codes = layer->weights.codes;
        for (uint32_t first = 0; first < channels; first += TQ_CHANNEL_CHUNK) {
            const uint32_t rest = channels - first;
            const uint32_t chunk = rest < TQ_CHANNEL_CHUNK ? rest : TQ_CHANNEL_CHUNK;
            for (uint32_t i = 0; i < chunk; i++) {
                uint32_t low = 0;
                uint32_t high = 0;
                fill(codes, words, count, buckets);
                layer->multiply(buckets, &low, &high);
                lows[i] = (int32_t)low + layer->requant.bias[first + i];
                highs[i] = (int32_t)high + layer->requant.bias[first + i];
                codes += layer->weights.channel_bytes;
            }
            tq_requantize(&layer->requant, first, chunk, lows, pairs->low + first);
            tq_requantize(&layer->requant, first, chunk, highs, pairs->high + first);
        }
    }
}

void tq_run_conv2d_buckets(const tq_conv2d_buckets *layer, const void *input, void *output,
                           void *scratch) {
    tq_run_conv2d_pot_code(&layer->windows, input, output, scratch);
}
