/* Writing the answer of a catalogue program: canonical JSON (RFC 8785).
 *
 * An answer is {"result":{...}} or {"error":{"code":...,"message":...,"position":...}}. Names of an
 * object must be written in alphabetical order: this header writes what it is told.
 */
#ifndef JSON_H
#define JSON_H

#include "vcp.h"

enum { JSON_BUFFER_BYTES = 65536 };

static struct {
    size_t n;
    int needs_comma;
    uint8_t bytes[JSON_BUFFER_BYTES];
} json;

static inline void json_flush(void) {
    if (json.n) vcp_write(json.bytes, json.n);
    json.n = 0;
}

static inline void json_byte(uint8_t byte) {
    if (json.n == JSON_BUFFER_BYTES) json_flush();
    json.bytes[json.n++] = byte;
}

static inline void json_raw(const void *bytes, size_t n) {
    for (const uint8_t *p = bytes; n--; p++) json_byte(*p);
}

/* Before each value of a list or name of an object. */
static inline void json_next(void) {
    if (json.needs_comma) json_byte(',');
    json.needs_comma = 1;
}

static inline void json_quoted(const uint8_t *text, size_t n) {
    static const char hex[] = "0123456789abcdef", from[] = "\b\t\n\f\r\"\\", to[] = "btnfr\"\\";
    json_byte('"');
    for (size_t i = 0; i < n; i++) {
        uint8_t c = text[i];
        int k = 0;
        while (k < 7 && (uint8_t)from[k] != c) k++;
        if (k < 7) {
            json_byte('\\');
            json_byte((uint8_t)to[k]);
        } else if (c < 0x20) {
            json_raw("\\u00", 4);
            json_byte((uint8_t)hex[c >> 4]);
            json_byte((uint8_t)hex[c & 15]);
        } else {
            json_byte(c);
        }
    }
    json_byte('"');
}

static inline void json_open(char bracket) {
    json_byte((uint8_t)bracket);
    json.needs_comma = 0;
}

static inline void json_close(char bracket) {
    json_byte((uint8_t)bracket);
    json.needs_comma = 1;
}

static inline void json_name(const char *name) {
    json_next();
    json_quoted((const uint8_t *)name, vcp_text_len(name));
    json_byte(':');
}

static inline void json_text(const uint8_t *text, size_t n) { json_quoted(text, n); }

static inline void json_unsigned(uint64_t value) {
    char text[20];
    size_t at = sizeof text;
    do text[--at] = (char)('0' + value % 10);
    while (value /= 10);
    json_raw(text + at, sizeof text - at);
}

static inline void json_begin_result(void) { json_raw("{\"result\":", 10), json_open('{'); }

static inline void json_end_result(void) {
    json_raw("}}", 2);
    json_flush();
}

/* The whole answer. `position` counts characters of the input text from 1; 0 leaves it out. */
static inline void json_error(const char *code, const char *message, uint32_t position) {
    json_raw("{\"error\":", 9);
    json_open('{');
    json_name("code");
    json_text((const uint8_t *)code, vcp_text_len(code));
    json_name("message");
    json_text((const uint8_t *)message, vcp_text_len(message));
    if (position) {
        json_name("position");
        json_unsigned(position);
    }
    json_end_result();
}

static inline void json_bad_input(void) {
    json_error("bad_input", "the input is not a record of this program's fields", 0);
}

#endif
