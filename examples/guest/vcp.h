/* The bytes interface of an Ambient VCP guest, with the few helpers that every guest needs.
 *
 * A guest that includes this header exports `run` (no arguments, no results) and `memory`, reads its
 * inputs and writes its output. It sees nothing else: no files, no clock, no network, no randomness.
 * The header stands alone: one translation unit, no C library.
 */
#ifndef VCP_H
#define VCP_H

#include <stddef.h>
#include <stdint.h>

#define VCP_IMPORT(name) __attribute__((import_module("vcp"), import_name(name)))
#define VCP_EXPORT(name) __attribute__((export_name(name), used))

enum { VCP_PUBLIC = 0, VCP_PRIVATE = 1 };

/* Size in bytes of the input of this kind; 0 when the task has none. */
VCP_IMPORT("input_len") int32_t vcp_input_len(int32_t kind);
/* Copies at most `len` bytes, from `offset` on, to `to`; returns how many were copied. */
VCP_IMPORT("input_read") int32_t vcp_input_read(int32_t kind, void *to, int32_t offset, int32_t len);
/* Appends `len` bytes to the output. */
VCP_IMPORT("output_write") void vcp_output_write(const void *from, int32_t len);

/* The compiler may turn any loop or assignment into these four, so they must exist. */
__attribute__((no_builtin)) void *memcpy(void *to, const void *from, size_t n) {
    uint8_t *t = to;
    const uint8_t *f = from;
    while (n >= 8) {
        __builtin_memcpy_inline(t, f, 8);
        t += 8, f += 8, n -= 8;
    }
    while (n--) *t++ = *f++;
    return to;
}

__attribute__((no_builtin)) void *memmove(void *to, const void *from, size_t n) {
    uint8_t *t = to;
    const uint8_t *f = from;
    if (t <= f || t >= f + n) return memcpy(to, from, n);
    while (n--) t[n] = f[n];
    return to;
}

__attribute__((no_builtin)) void *memset(void *to, int byte, size_t n) {
    uint8_t *t = to;
    uint64_t word = (uint8_t)byte * 0x0101010101010101ull;
    while (n >= 8) {
        __builtin_memcpy_inline(t, &word, 8);
        t += 8, n -= 8;
    }
    while (n--) *t++ = (uint8_t)byte;
    return to;
}

__attribute__((no_builtin)) int memcmp(const void *a, const void *b, size_t n) {
    const uint8_t *x = a, *y = b;
    for (size_t i = 0; i < n; i++)
        if (x[i] != y[i]) return x[i] < y[i] ? -1 : 1;
    return 0;
}

static inline size_t vcp_text_len(const char *text) {
    size_t n = 0;
    while (text[n]) n++;
    return n;
}

/* Zeroed memory, 16-byte aligned, never given back. Returns NULL when the memory limit is reached. */
static void *vcp_try_alloc(size_t n) {
    extern uint8_t __heap_base;
    static uintptr_t next;
    if (!next) next = ((uintptr_t)&__heap_base + 15) & ~(uintptr_t)15;
    if (n > 0x7fffffff || next + n > 0x7fffffff) return NULL;
    uintptr_t end = (next + n + 15) & ~(uintptr_t)15;
    uintptr_t have = (uintptr_t)__builtin_wasm_memory_size(0) << 16;
    if (end > have && __builtin_wasm_memory_grow(0, (end - have + 0xffff) >> 16) == (size_t)-1)
        return NULL;
    void *block = (void *)next;
    next = end;
    return block;
}

/* The same, but traps: for guests that have no better answer. */
static inline void *vcp_alloc(size_t n) {
    void *block = vcp_try_alloc(n);
    if (!block) __builtin_trap();
    return block;
}

/* The whole input of this kind, with one zero byte after it. */
static inline uint8_t *vcp_read_all(int32_t kind, size_t *size) {
    int32_t len = vcp_input_len(kind), at = 0;
    uint8_t *bytes = vcp_alloc((size_t)len + 1);
    while (at < len) {
        int32_t got = vcp_input_read(kind, bytes + at, at, len - at);
        if (got <= 0) __builtin_trap();
        at += got;
    }
    *size = (size_t)len;
    return bytes;
}

static inline void vcp_write(const void *bytes, size_t n) { vcp_output_write(bytes, (int32_t)n); }

#endif
