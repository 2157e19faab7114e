/* Decompression of zlib streams (RFC 1950, RFC 1951), as PNG files carry them. */
#ifndef INFLATE_H
#define INFLATE_H

#include "vcp.h"

struct bits {
    const uint8_t *at, *end;
    uint32_t held;
    int count;
    int overrun;
};

static uint32_t take(struct bits *in, int n) {
    while (in->count < n) {
        if (in->at == in->end) {
            in->overrun = 1;
            return 0;
        }
        in->held |= (uint32_t)*in->at++ << in->count;
        in->count += 8;
    }
    uint32_t value = in->held & ((1u << n) - 1);
    in->held >>= n;
    in->count -= n;
    return value;
}

/* A canonical Huffman code: how many codes there are of each length, and their symbols in order. */
struct huffman {
    uint16_t count[16];
    uint16_t symbol[288];
};

/* Returns 0 for a code that has more words than bits allow. */
static int huffman_build(struct huffman *code, const uint8_t *lengths, int n) {
    uint16_t next[16];
    memset(code->count, 0, sizeof code->count);
    for (int i = 0; i < n; i++) code->count[lengths[i]]++;
    code->count[0] = 0;
    int left = 1;
    for (int len = 1; len < 16; len++) {
        left = left * 2 - code->count[len];
        if (left < 0) return 0;
    }
    next[1] = 0;
    for (int len = 1; len < 15; len++) next[len + 1] = (uint16_t)(next[len] + code->count[len]);
    for (int i = 0; i < n; i++)
        if (lengths[i]) code->symbol[next[lengths[i]]++] = (uint16_t)i;
    return 1;
}

/* Returns the next symbol, or -1 where the bits are no word of the code. */
static int huffman_next(const struct huffman *code, struct bits *in) {
    int word = 0, first = 0, index = 0;
    for (int len = 1; len < 16; len++) {
        word |= (int)take(in, 1);
        if (in->overrun) return -1;
        int count = code->count[len];
        if (word - first < count) return code->symbol[index + word - first];
        index += count;
        first = (first + count) << 1;
        word <<= 1;
    }
    return -1;
}

static const uint16_t length_base[29] = {3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23, 27,
                                         31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
static const uint8_t length_extra[29] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
                                         2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
static const uint16_t distance_base[30] = {1,   2,   3,   4,   5,   7,    9,    13,   17,   25,
                                           33,  49,  65,  97,  129, 193,  257,  385,  513,  769,
                                           1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};
static const uint8_t distance_extra[30] = {0, 0, 0, 0, 1, 1, 2, 2,  3,  3,  4,  4,  5,  5,  6,
                                           6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13};

static int inflate_codes(struct bits *in, const struct huffman *literals,
                         const struct huffman *distances, uint8_t *out, size_t *at, size_t size) {
    for (;;) {
        int symbol = huffman_next(literals, in);
        if (symbol < 0) return 0;
        if (symbol == 256) return 1;
        if (symbol < 256) {
            if (*at == size) return 0;
            out[(*at)++] = (uint8_t)symbol;
            continue;
        }
        if (symbol > 285) return 0;
        size_t len = length_base[symbol - 257] + take(in, length_extra[symbol - 257]);
        int back = huffman_next(distances, in);
        if (back < 0 || back > 29) return 0;
        size_t distance = distance_base[back] + take(in, distance_extra[back]);
        if (in->overrun || distance > *at || len > size - *at) return 0;
        for (; len; len--, (*at)++) out[*at] = out[*at - distance];
    }
}

static int inflate_stored(struct bits *in, uint8_t *out, size_t *at, size_t size) {
    in->held = 0;
    in->count = 0;
    if (in->end - in->at < 4) return 0;
    uint32_t len = in->at[0] | (uint32_t)in->at[1] << 8;
    uint32_t check = in->at[2] | (uint32_t)in->at[3] << 8;
    in->at += 4;
    if (len != (check ^ 0xffff) || (size_t)(in->end - in->at) < len || len > size - *at) return 0;
    memcpy(out + *at, in->at, len);
    in->at += len;
    *at += len;
    return 1;
}

static int read_dynamic_codes(struct bits *in, struct huffman *literals, struct huffman *distances) {
    static const uint8_t order[19] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
    uint8_t lengths[320] = {0};
    int n_literals = (int)take(in, 5) + 257, n_distances = (int)take(in, 5) + 1;
    int n_codes = (int)take(in, 4) + 4, n = n_literals + n_distances, i = 0;
    if (n_literals > 286 || n_distances > 30) return 0;
    for (int c = 0; c < n_codes; c++) lengths[order[c]] = (uint8_t)take(in, 3);
    if (in->overrun || !huffman_build(literals, lengths, 19)) return 0;
    memset(lengths, 0, sizeof lengths);
    while (i < n) {
        int symbol = huffman_next(literals, in), repeat = 1, value = symbol;
        if (symbol < 0) return 0;
        if (symbol == 16) {
            if (i == 0) return 0;
            value = lengths[i - 1];
            repeat = 3 + (int)take(in, 2);
        } else if (symbol > 16) {
            value = 0;
            repeat = symbol == 17 ? 3 + (int)take(in, 3) : 11 + (int)take(in, 7);
        }
        if (in->overrun || repeat > n - i) return 0;
        while (repeat--) lengths[i++] = (uint8_t)value;
    }
    return huffman_build(distances, lengths + n_literals, n_distances) &&
           huffman_build(literals, lengths, n_literals);
}

static void fixed_codes(struct huffman *literals, struct huffman *distances) {
    uint8_t lengths[288];
    for (int i = 0; i < 288; i++) lengths[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
    huffman_build(literals, lengths, 288);
    memset(lengths, 5, 30);
    huffman_build(distances, lengths, 30);
}

/* Fills exactly `size` bytes of `out` from a zlib stream. Returns 0 if the stream is damaged or of
 * another size. The Adler-32 sum is not read: the CRC of the PNG chunk covers the same bytes. */
static int inflate_zlib(const uint8_t *stream, size_t n, uint8_t *out, size_t size) {
    static struct huffman literals, distances;
    struct bits in = {stream + 2, stream + n, 0, 0, 0};
    size_t at = 0;
    uint32_t last = 0;
    if (n < 6 || (stream[0] & 15) != 8 || (stream[0] * 256 + stream[1]) % 31 || stream[1] & 32) return 0;
    while (!last) {
        last = take(&in, 1);
        uint32_t kind = take(&in, 2);
        int ok = 0;
        if (in.overrun) return 0;
        if (kind == 0) {
            ok = inflate_stored(&in, out, &at, size);
        } else if (kind < 3) {
            ok = 1;
            if (kind == 1)
                fixed_codes(&literals, &distances);
            else
                ok = read_dynamic_codes(&in, &literals, &distances);
            ok = ok && inflate_codes(&in, &literals, &distances, out, &at, size);
        }
        if (!ok) return 0;
    }
    return at == size;
}

#endif
