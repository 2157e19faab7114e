/* Reading and writing of PNG pictures (ISO/IEC 15948), as far as photographs need it. */
#ifndef PNG_H
#define PNG_H

#include "inflate.h"

enum { PNG_SIDE_MAX = 8192, PNG_PIXELS_MAX = 16 * 1024 * 1024 };

static const uint8_t png_magic[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};

static uint32_t big_endian(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint32_t crc32(const uint8_t *bytes, size_t n) {
    static uint32_t table[256];
    if (!table[1])
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t c = i;
            for (int k = 0; k < 8; k++) c = c & 1 ? 0xedb88320u ^ (c >> 1) : c >> 1;
            table[i] = c;
        }
    uint32_t c = 0xffffffffu;
    while (n--) c = table[(c ^ *bytes++) & 255] ^ (c >> 8);
    return ~c;
}

struct png_header {
    uint32_t width, height, channels, colour;
};

/* Undoes the row filters in place. Returns 0 for an unknown filter. */
static int unfilter(uint8_t *rows, const struct png_header *head) {
    size_t bpp = head->channels, stride = head->width * bpp;
    for (uint32_t y = 0; y < head->height; y++) {
        uint8_t *row = rows + y * (stride + 1), kind = *row++;
        const uint8_t *above = y ? row - stride - 1 : NULL;
        if (kind > 4) return 0;
        for (size_t i = 0; i < stride; i++) {
            int a = i >= bpp ? row[i - bpp] : 0, b = above ? above[i] : 0;
            int c = above && i >= bpp ? above[i - bpp] : 0, add = 0;
            if (kind == 1) add = a;
            if (kind == 2) add = b;
            if (kind == 3) add = (a + b) / 2;
            if (kind == 4) {
                int p = a + b - c, da = p > a ? p - a : a - p, db = p > b ? p - b : b - p;
                int dc = p > c ? p - c : c - p;
                add = da <= db && da <= dc ? a : db <= dc ? b : c;
            }
            row[i] = (uint8_t)(row[i] + add);
        }
    }
    return 1;
}

static const char *read_header(const uint8_t *data, uint32_t n, struct png_header *head) {
    static const uint8_t channels[7] = {1, 0, 3, 1, 2, 0, 4};
    if (n != 13) return "the PNG header is damaged";
    head->width = big_endian(data);
    head->height = big_endian(data + 4);
    head->colour = data[9];
    if (!head->width || !head->height || head->width > PNG_SIDE_MAX || head->height > PNG_SIDE_MAX ||
        head->width * head->height > PNG_PIXELS_MAX)
        return "the picture is empty or too large";
    if (data[8] != 8 || head->colour > 6 || !channels[head->colour] || data[10] || data[11] || data[12])
        return "only PNG pictures with 8 bits a channel and without interlacing are read";
    head->channels = channels[head->colour];
    return NULL;
}

/* Brightness of each pixel (0 to 255, row by row) by the weights of ITU-R BT.601; alpha is ignored. */
static void to_luma(const uint8_t *rows, const struct png_header *head, const uint8_t *palette,
                    uint8_t *luma) {
    for (uint32_t y = 0; y < head->height; y++) {
        const uint8_t *p = rows + y * (head->width * head->channels + 1) + 1;
        for (uint32_t x = 0; x < head->width; x++, p += head->channels) {
            const uint8_t *rgb = head->colour == 3 ? palette + 3 * *p : p;
            *luma++ = head->colour & 2 ? (uint8_t)((299 * rgb[0] + 587 * rgb[1] + 114 * rgb[2] + 500) / 1000)
                                       : *p;
        }
    }
}

/* Decodes to brightness. Returns NULL, or a sentence that says what is wrong with the file. */
static const char *png_read_luma(const uint8_t *file, size_t n, struct png_header *head, uint8_t **luma) {
    uint8_t palette[768] = {0}, *packed = vcp_alloc(n);
    size_t at = 8, packed_size = 0;
    int seen_header = 0, seen_end = 0;
    if (n < 8 || memcmp(file, png_magic, 8)) return "the input is not a PNG file";
    while (!seen_end) {
        if (n - at < 12 || big_endian(file + at) > n - at - 12) return "the PNG file is cut short";
        uint32_t len = big_endian(file + at);
        const uint8_t *kind = file + at + 4, *data = kind + 4;
        if (crc32(kind, len + 4) != big_endian(data + len)) return "a checksum in the PNG file is wrong";
        if (!memcmp(kind, "IHDR", 4)) {
            const char *problem = read_header(data, len, head);
            if (problem) return problem;
            seen_header = 1;
        } else if (!memcmp(kind, "PLTE", 4)) {
            memcpy(palette, data, len < 768 ? len : 768);
        } else if (!memcmp(kind, "IDAT", 4)) {
            memcpy(packed + packed_size, data, len);
            packed_size += len;
        } else if (!memcmp(kind, "IEND", 4)) {
            seen_end = 1;
        }
        at += len + 12;
    }
    if (!seen_header) return "the PNG header is missing";
    size_t size = (size_t)head->height * (head->width * head->channels + 1);
    uint8_t *rows = vcp_alloc(size);
    if (!inflate_zlib(packed, packed_size, rows, size) || !unfilter(rows, head))
        return "the picture's data are damaged";
    *luma = vcp_alloc((size_t)head->width * head->height);
    to_luma(rows, head, palette, *luma);
    return NULL;
}

/* --- writing --- */

struct deflate {
    uint8_t *at;
    uint32_t held;
    int count;
};

static void put(struct deflate *out, uint32_t value, int n) {
    out->held |= value << out->count;
    out->count += n;
    for (; out->count >= 8; out->count -= 8, out->held >>= 8) *out->at++ = (uint8_t)out->held;
}

/* Huffman words go out with their highest bit first. */
static void put_word(struct deflate *out, uint32_t word, int n) {
    uint32_t turned = 0;
    for (int i = 0; i < n; i++) turned |= (word >> i & 1) << (n - 1 - i);
    put(out, turned, n);
}

static void put_symbol(struct deflate *out, uint32_t s) {
    if (s < 144) put_word(out, 0x30 + s, 8);
    else if (s < 256) put_word(out, 0x190 + s - 144, 9);
    else if (s < 280) put_word(out, s - 256, 7);
    else put_word(out, 0xc0 + s - 280, 8);
}

static void put_match(struct deflate *out, uint32_t len, uint32_t distance) {
    int l = 28, d = 29;
    while (length_base[l] > len) l--;
    put_symbol(out, (uint32_t)l + 257);
    put(out, len - length_base[l], length_extra[l]);
    while (distance_base[d] > distance) d--;
    put_word(out, (uint32_t)d, 5);
    put(out, distance - distance_base[d], distance_extra[d]);
}

/* One block with the fixed code; each position looks at the last place where its three bytes hashed
 * alike. Returns how many bytes were written; `to` must have room for n * 9 / 8 + 16. */
static size_t deflate_zlib(const uint8_t *bytes, size_t n, uint8_t *to) {
    enum { HASH_BITS = 14 };
    static uint32_t last[1 << HASH_BITS];
    struct deflate out = {to, 0, 0};
    uint32_t a = 1, b = 0;
    put(&out, 0x0178, 16);
    put(&out, 3, 3);
    for (size_t i = 0; i < n;) {
        size_t len = 0, from = 0;
        if (i + 3 <= n) {
            uint32_t three = bytes[i] | (uint32_t)bytes[i + 1] << 8 | (uint32_t)bytes[i + 2] << 16;
            uint32_t slot = three * 0x9e3779b1u >> (32 - HASH_BITS);
            if (last[slot] && i - (last[slot] - 1) <= 32768) {
                from = last[slot] - 1;
                while (len < 258 && i + len < n && bytes[from + len] == bytes[i + len]) len++;
            }
            last[slot] = (uint32_t)i + 1;
        }
        if (len >= 3) {
            put_match(&out, (uint32_t)len, (uint32_t)(i - from));
            i += len;
        } else {
            put_symbol(&out, bytes[i++]);
        }
    }
    put_symbol(&out, 256);
    put(&out, 0, -out.count & 7);
    for (size_t i = 0; i < n; i++) {
        a = (a + bytes[i]) % 65521;
        b = (b + a) % 65521;
    }
    uint8_t sum[4] = {(uint8_t)(b >> 8), (uint8_t)b, (uint8_t)(a >> 8), (uint8_t)a};
    memcpy(out.at, sum, 4);
    return (size_t)(out.at + 4 - to);
}

static void store_big_endian(uint8_t *p, uint32_t value) {
    for (int i = 0; i < 4; i++) p[i] = (uint8_t)(value >> (24 - 8 * i));
}

/* `chunk` has eight free bytes before its data and four after them. */
static void write_chunk(uint8_t *chunk, const char *kind, size_t n) {
    store_big_endian(chunk, (uint32_t)n);
    memcpy(chunk + 4, kind, 4);
    store_big_endian(chunk + 8 + n, crc32(chunk + 4, n + 4));
    vcp_write(chunk, n + 12);
}

static void png_write_grey(const uint8_t *grey, uint32_t width, uint32_t height) {
    size_t size = (size_t)height * (width + 1);
    uint8_t header[25] = {0}, end[12], *rows = vcp_alloc(size);
    uint8_t *packed = vcp_alloc(size + size / 8 + 64);
    for (uint32_t y = 0; y < height; y++) memcpy(rows + y * (width + 1) + 1, grey + y * width, width);
    vcp_write(png_magic, 8);
    store_big_endian(header + 8, width);
    store_big_endian(header + 12, height);
    header[16] = 8;
    write_chunk(header, "IHDR", 13);
    write_chunk(packed, "IDAT", deflate_zlib(rows, size, packed + 8));
    write_chunk(end, "IEND", 0);
}

#endif
