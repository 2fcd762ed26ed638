/* SPDX-License-Identifier: Apache-2.0 */
#include <tinyq/add_dsp.h>

#include <tinyq/dsp.h>

/* A layer, ready for words; a number in every byte where it meets bytes. */
typedef struct add_words {
    uint32_t factors; /* a's, b's in the high half */
    uint32_t start;
    uint32_t zero;
    uint32_t shift;
    uint32_t a_flip; /* bytes to u */
    uint32_t b_flip;
    uint32_t lo;
    uint32_t span;
} add_words;

TQ_INLINE uint32_t in_all_bytes(uint8_t byte) {
    return 0x01010101U * byte;
}

TQ_INLINE add_words words_of(const tq_add_dsp *layer) {
    return (add_words){
        .factors = (uint32_t)layer->a_factor | (uint32_t)layer->b_factor << 16,
        .start = (uint32_t)layer->start,
        .zero = (uint32_t)layer->zero,
        .shift = layer->shift,
        .a_flip = layer->a_signed ? 0x80808080U : 0,
        .b_flip = layer->b_signed ? 0x80808080U : 0,
        .lo = in_all_bytes(layer->lo),
        .span = in_all_bytes(layer->span),
    };
}

TQ_INLINE uint32_t shifted(const add_words *add, uint32_t v) {
    const int32_t below = (int32_t)(v - add->zero) >> 31; /* -1 or 0 */
    return (uint32_t)(((int32_t)v + below) >> add->shift);
}

/* Two elements from lanes of u: bytes in lanes. */
TQ_INLINE uint32_t add_lanes(const add_words *add, uint32_t a, uint32_t b) {
    const uint32_t low = tq_smlabt(b, add->factors, tq_smlabb(a, add->factors, add->start));
    const uint32_t high = tq_smlatt(b, add->factors, tq_smlatb(a, add->factors, add->start));
    return tq_usat16_8(tq_pkhbt(shifted(add, low), shifted(add, high)));
}

/* Four elements. */
TQ_INLINE uint32_t add_word(const add_words *add, uint32_t a, uint32_t b) {
    a ^= add->a_flip;
    b ^= add->b_flip;
    const uint32_t even = add_lanes(add, tq_uxtb16(a), tq_uxtb16(b));
    const uint32_t odd = add_lanes(add, tq_uxtb16_ror8(a), tq_uxtb16_ror8(b));
    return tq_uadd8(tq_min_u8x4(even | odd << 8, add->span), add->lo);
}

static void run_words(const add_words *layer, const uint8_t *a, const uint8_t *b, uint8_t *out,
                      uint32_t words) {
    const add_words add = *layer; /* a copy: no store to the output can change it */
    for (; words > 0; words--, a += 4, b += 4, out += 4) {
        tq_store32(out, add_word(&add, tq_load32(a), tq_load32(b)));
    }
}

TQ_INLINE void copy(const uint8_t *from, uint8_t *to, uint32_t count) {
    for (; count > 0; count--) {
        *to++ = *from++;
    }
}

void tq_run_add_dsp(const tq_add_dsp *layer, const void *a, const void *b, void *output) {
    const add_words add = words_of(layer);
    const uint32_t whole = layer->count & ~UINT32_C(3);
    const uint32_t left = layer->count - whole;

    run_words(&add, a, b, output, whole / 4);
    if (left > 0) {
        uint8_t a_part[4] = {0};
        uint8_t b_part[4] = {0};
        copy((const uint8_t *)a + whole, a_part, left);
        copy((const uint8_t *)b + whole, b_part, left);
        run_words(&add, a_part, b_part, a_part, 1);
        copy(a_part, (uint8_t *)output + whole, left);
    }
}
