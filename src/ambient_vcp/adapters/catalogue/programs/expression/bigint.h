/* Natural numbers of up to 4096 bits: just enough room for one step on fractions of 1024 bits. */
#ifndef BIGINT_H
#define BIGINT_H

#include "vcp.h"

enum { NAT_WORDS = 128 };

/* No leading zero words: zero has n = 0. Words above n are not read. */
struct nat {
    int n;
    uint32_t word[NAT_WORDS];
};

static inline void nat_set(struct nat *x, uint32_t value) {
    x->word[0] = value;
    x->n = value != 0;
}

static inline void nat_copy(struct nat *to, const struct nat *from) {
    to->n = from->n;
    memcpy(to->word, from->word, (size_t)from->n * 4);
}

static inline int nat_bits(const struct nat *x) {
    return x->n ? x->n * 32 - __builtin_clz(x->word[x->n - 1]) : 0;
}

static inline int nat_is_one(const struct nat *x) { return x->n == 1 && x->word[0] == 1; }

static inline int nat_compare(const struct nat *a, const struct nat *b) {
    if (a->n != b->n) return a->n < b->n ? -1 : 1;
    for (int i = a->n - 1; i >= 0; i--)
        if (a->word[i] != b->word[i]) return a->word[i] < b->word[i] ? -1 : 1;
    return 0;
}

static inline void nat_trim(struct nat *x) {
    while (x->n && !x->word[x->n - 1]) x->n--;
}

static inline void nat_push(struct nat *x, uint32_t word) {
    if (!word) return;
    if (x->n == NAT_WORDS) __builtin_trap();
    x->word[x->n++] = word;
}

/* x = x * factor + extra */
static inline void nat_scale(struct nat *x, uint32_t factor, uint32_t extra) {
    uint64_t carry = extra;
    for (int i = 0; i < x->n; i++) {
        carry += (uint64_t)x->word[i] * factor;
        x->word[i] = (uint32_t)carry;
        carry >>= 32;
    }
    nat_push(x, (uint32_t)carry);
    nat_trim(x);
}

static inline void nat_scale_power_of_ten(struct nat *x, int power) {
    for (; power >= 9; power -= 9) nat_scale(x, 1000000000u, 0);
    for (; power > 0; power--) nat_scale(x, 10, 0);
}

/* Divides in place; returns the remainder. */
static inline uint32_t nat_divide_small(struct nat *x, uint32_t divisor) {
    uint64_t rest = 0;
    for (int i = x->n - 1; i >= 0; i--) {
        rest = rest << 32 | x->word[i];
        x->word[i] = (uint32_t)(rest / divisor);
        rest %= divisor;
    }
    nat_trim(x);
    return (uint32_t)rest;
}

/* to = a + b; `to` may be a or b. */
static inline void nat_add(struct nat *to, const struct nat *a, const struct nat *b) {
    const struct nat *more = a->n >= b->n ? a : b, *less = a->n >= b->n ? b : a;
    int n = more->n, n_less = less->n;
    uint64_t carry = 0;
    for (int i = 0; i < n; i++) {
        carry += (uint64_t)more->word[i] + (i < n_less ? less->word[i] : 0);
        to->word[i] = (uint32_t)carry;
        carry >>= 32;
    }
    to->n = n;
    nat_push(to, (uint32_t)carry);
}

/* to = a - b where a >= b; `to` may be a or b. */
static inline void nat_subtract(struct nat *to, const struct nat *a, const struct nat *b) {
    int n = a->n, n_less = b->n;
    int64_t borrow = 0;
    for (int i = 0; i < n; i++) {
        borrow += (int64_t)a->word[i] - (i < n_less ? b->word[i] : 0);
        to->word[i] = (uint32_t)borrow;
        borrow >>= 32;
    }
    to->n = n;
    nat_trim(to);
}

/* to = a * b; `to` is neither. */
static inline void nat_multiply(struct nat *to, const struct nat *a, const struct nat *b) {
    if (a->n + b->n > NAT_WORDS) __builtin_trap();
    memset(to->word, 0, (size_t)(a->n + b->n) * 4);
    for (int i = 0; i < a->n; i++) {
        uint64_t carry = 0;
        for (int k = 0; k < b->n; k++) {
            carry += (uint64_t)a->word[i] * b->word[k] + to->word[i + k];
            to->word[i + k] = (uint32_t)carry;
            carry >>= 32;
        }
        to->word[i + b->n] = (uint32_t)carry;
    }
    to->n = a->n + b->n;
    nat_trim(to);
}

static inline void nat_shift_left(struct nat *x, int bits) {
    if (!bits) return;
    uint32_t carry = 0;
    for (int i = 0; i < x->n; i++) {
        uint32_t word = x->word[i];
        x->word[i] = word << bits | carry;
        carry = word >> (32 - bits);
    }
    nat_push(x, carry);
}

static inline void nat_shift_right(struct nat *x, int bits) {
    if (!bits) return;
    for (int i = 0; i < x->n; i++)
        x->word[i] = x->word[i] >> bits | (i + 1 < x->n ? x->word[i + 1] << (32 - bits) : 0);
    nat_trim(x);
}

/* One digit of the quotient (Knuth, The Art of Computer Programming, volume 2, 4.3.1 D3 to D6):
 * a[at .. at+n] is reduced by the returned multiple of b, whose highest bit is set. */
static inline uint32_t reduce_once(uint32_t *a, const uint32_t *b, int n) {
    uint64_t top = (uint64_t)a[n] << 32 | a[n - 1];
    uint64_t digit = top / b[n - 1], rest = top % b[n - 1];
    while (digit >> 32 || digit * b[n - 2] > (rest << 32 | a[n - 2])) {
        digit--;
        rest += b[n - 1];
        if (rest >> 32) break;
    }
    uint64_t carry = 0;
    int64_t borrow = 0;
    for (int i = 0; i < n; i++) {
        carry += digit * b[i];
        borrow += (int64_t)a[i] - (uint32_t)carry;
        a[i] = (uint32_t)borrow;
        carry >>= 32;
        borrow >>= 32;
    }
    borrow += (int64_t)a[n] - (int64_t)carry;
    a[n] = (uint32_t)borrow;
    if (borrow < 0) {
        uint64_t back = 0;
        digit--;
        for (int i = 0; i < n; i++) {
            back += (uint64_t)a[i] + b[i];
            a[i] = (uint32_t)back;
            back >>= 32;
        }
        a[n] += (uint32_t)back;
    }
    return (uint32_t)digit;
}

/* quotient = a / b and a = a % b, for b > 0; `quotient` is neither, and may be NULL. */
static inline void nat_divide(struct nat *quotient, struct nat *a, const struct nat *b) {
    static struct nat divisor;
    static uint32_t work[NAT_WORDS + 1];
    if (nat_compare(a, b) < 0) {
        if (quotient) nat_set(quotient, 0);
        return;
    }
    if (b->n == 1) {
        uint32_t rest = nat_divide_small(a, b->word[0]);
        if (quotient) nat_copy(quotient, a);
        nat_set(a, rest);
        return;
    }
    int shift = __builtin_clz(b->word[b->n - 1]), n = b->n, steps = a->n - n;
    nat_copy(&divisor, b);
    nat_shift_left(&divisor, shift);
    work[0] = 0;
    for (int i = 0; i < a->n; i++) {
        work[i] |= shift ? a->word[i] << shift : a->word[i];
        work[i + 1] = shift ? a->word[i] >> (32 - shift) : 0;
    }
    for (int at = steps; at >= 0; at--) {
        uint32_t digit = reduce_once(work + at, divisor.word, n);
        if (quotient) quotient->word[at] = digit;
    }
    if (quotient) {
        quotient->n = steps + 1;
        nat_trim(quotient);
    }
    memcpy(a->word, work, (size_t)n * 4);
    a->n = n;
    nat_trim(a);
    nat_shift_right(a, shift);
}

/* a = greatest common divisor of a and b; b is used up. */
static inline void nat_gcd(struct nat *a, struct nat *b) {
    while (b->n) {
        nat_divide(NULL, a, b);
        if (!a->n) {
            nat_copy(a, b);
            return;
        }
        nat_divide(NULL, b, a);
    }
}

#endif
