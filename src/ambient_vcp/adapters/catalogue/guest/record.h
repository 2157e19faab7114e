/* Reading the input record of a catalogue program.
 *
 * The record is "VCP1", then the fields in the manifest's order, nothing between and nothing after.
 * All integers are little-endian:
 *   integer  8 bytes, two's complement      number  8 bytes, IEEE 754 binary64
 *   boolean  1 byte, 0 or 1                 choice  1 byte, position in the manifest's list
 *   text     u32 size, UTF-8 bytes
 *   list     u8 kind (0 numbers, 1 texts), u32 count, then that many numbers or texts
 *   matrix   u32 rows, u32 columns, then rows * columns numbers, row by row
 *
 * A reader that meets anything else turns `broken` and from then on returns zeros, so a program asks
 * once, after its last field.
 */
#ifndef RECORD_H
#define RECORD_H

#include "vcp.h"

struct record {
    const uint8_t *at, *end;
    int broken;
};

struct text {
    const uint8_t *bytes;
    uint32_t size;
};

static inline const uint8_t *record_take(struct record *in, size_t n) {
    if (in->broken || (size_t)(in->end - in->at) < n) {
        in->broken = 1;
        return NULL;
    }
    in->at += n;
    return in->at - n;
}

static inline struct record record_open(void) {
    size_t n;
    const uint8_t *bytes = vcp_read_all(VCP_PUBLIC, &n);
    struct record in = {bytes, bytes + n, 0};
    const uint8_t *magic = record_take(&in, 4);
    if (!magic || memcmp(magic, "VCP1", 4)) in.broken = 1;
    return in;
}

/* True when every field was there and nothing is left over. */
static inline int record_is_good(const struct record *in) { return !in->broken && in->at == in->end; }

static inline uint8_t record_byte(struct record *in, uint8_t max) {
    const uint8_t *p = record_take(in, 1);
    if (p && *p > max) in->broken = 1;
    return p && *p <= max ? *p : 0;
}

static inline uint32_t record_u32(struct record *in) {
    const uint8_t *p = record_take(in, 4);
    return p ? p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24 : 0;
}

static inline uint64_t record_u64(struct record *in) {
    uint64_t low = record_u32(in);
    return low | (uint64_t)record_u32(in) << 32;
}

/* Only finite numbers are numbers. */
static inline double record_number(struct record *in) {
    union {
        uint64_t bits;
        double number;
    } both = {record_u64(in)};
    if ((both.bits >> 52 & 0x7ff) == 0x7ff) in->broken = 1;
    return in->broken ? 0 : both.number;
}

/* The size of the UTF-8 character at p, or 0 if none stands there (RFC 3629). */
static inline uint32_t utf8_size(const uint8_t *p, const uint8_t *end) {
    if (p >= end) return 0;
    if (*p < 0x80) return 1;
    uint32_t n = *p >= 0xc2 && *p < 0xe0 ? 2 : *p >= 0xe0 && *p < 0xf0 ? 3 : *p >= 0xf0 && *p < 0xf5 ? 4 : 0;
    if (!n || (size_t)(end - p) < n) return 0;
    for (uint32_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80) return 0;
    if ((*p == 0xe0 && p[1] < 0xa0) || (*p == 0xed && p[1] > 0x9f) || (*p == 0xf0 && p[1] < 0x90) ||
        (*p == 0xf4 && p[1] > 0x8f))
        return 0;
    return n;
}

static inline struct text record_text(struct record *in) {
    struct text found = {NULL, record_u32(in)};
    found.bytes = record_take(in, found.size);
    if (!found.bytes) found.size = 0;
    for (const uint8_t *p = found.bytes, *end = p + found.size; p < end;) {
        uint32_t n = utf8_size(p, end);
        if (!n) {
            in->broken = 1;
            break;
        }
        p += n;
    }
    return found;
}

#endif
