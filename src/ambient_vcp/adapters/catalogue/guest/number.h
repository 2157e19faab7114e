/* Numbers as text, the way RFC 8785 (canonical JSON) and ECMAScript write them: the fewest digits that
 * read back as the same binary64. Free-format algorithm of Steele and White (1990) as improved by
 * Dybvig and Burger (1996), on integers of up to 1280 bits; ties go to the even digit. */
#ifndef NUMBER_H
#define NUMBER_H

#include "vcp.h"

enum { NUMBER_TEXT_MAX = 32, BIG_WORDS = 40 };

struct big {
    int n;
    uint32_t word[BIG_WORDS];
};

static inline void big_scale(struct big *x, uint32_t factor) {
    uint64_t carry = 0;
    for (int i = 0; i < x->n; i++) {
        carry += (uint64_t)x->word[i] * factor;
        x->word[i] = (uint32_t)carry;
        carry >>= 32;
    }
    if (carry) x->word[x->n++] = (uint32_t)carry;
}

static inline void big_scale_power_of_ten(struct big *x, int power) {
    for (; power >= 9; power -= 9) big_scale(x, 1000000000u);
    for (; power > 0; power--) big_scale(x, 10);
}

/* x = value * 2^shift */
static inline void big_set(struct big *x, uint64_t value, int shift) {
    int skip = shift / 32, bits = shift % 32;
    memset(x, 0, sizeof *x);
    x->word[skip] = (uint32_t)(value << bits);
    x->word[skip + 1] = (uint32_t)(value >> (32 - bits));
    x->word[skip + 2] = bits ? (uint32_t)(value >> 32 >> (32 - bits)) : 0;
    for (x->n = skip + 3; x->n && !x->word[x->n - 1]; x->n--) {}
}

static inline int big_compare(const struct big *a, const struct big *b) {
    if (a->n != b->n) return a->n < b->n ? -1 : 1;
    for (int i = a->n - 1; i >= 0; i--)
        if (a->word[i] != b->word[i]) return a->word[i] < b->word[i] ? -1 : 1;
    return 0;
}

static inline void big_subtract(struct big *a, const struct big *b) {
    int64_t borrow = 0;
    for (int i = 0; i < a->n; i++) {
        borrow += (int64_t)a->word[i] - (i < b->n ? b->word[i] : 0);
        a->word[i] = (uint32_t)borrow;
        borrow >>= 32;
    }
    while (a->n && !a->word[a->n - 1]) a->n--;
}

/* compares a + b with c */
static inline int big_compare_sum(const struct big *a, const struct big *b, const struct big *c) {
    struct big sum = a->n >= b->n ? *a : *b;
    const struct big *less = a->n >= b->n ? b : a;
    uint64_t carry = 0;
    for (int i = 0; i < sum.n; i++) {
        carry += (uint64_t)sum.word[i] + (i < less->n ? less->word[i] : 0);
        sum.word[i] = (uint32_t)carry;
        carry >>= 32;
    }
    if (carry) sum.word[sum.n++] = 1;
    return big_compare(&sum, c);
}

/* Digits of a positive finite number: value = 0.d1 d2 ... * 10^point. Returns how many digits. */
static inline int shortest_digits(uint64_t bits, char *digits, int *point) {
    static struct big r, s, above, below;
    uint64_t f = bits & ((1ull << 52) - 1);
    int e = (int)(bits >> 52 & 0x7ff), n = 0, top = 52;
    if (e) f |= 1ull << 52;
    int narrow = f == 1ull << 52 && e > 1, even = !(f & 1);
    e = (e ? e : 1) - 1075;
    big_set(&r, f, (e > 0 ? e : 0) + 1 + narrow);
    big_set(&s, 1, (e < 0 ? -e : 0) + 1 + narrow);
    big_set(&above, 1, (e > 0 ? e : 0) + narrow);
    big_set(&below, 1, e > 0 ? e : 0);
    while (!(f >> top & 1)) top--;
    /* 0.30103 is a little more than log10(2); the estimate is right or one too small. */
    double estimate = (e + top) * 0.30102999566398114 - 1e-10;
    int k = (int)estimate;
    if (k < estimate) k++;
    if (k >= 0) {
        big_scale_power_of_ten(&s, k);
    } else {
        big_scale_power_of_ten(&r, -k);
        big_scale_power_of_ten(&above, -k);
        big_scale_power_of_ten(&below, -k);
    }
    if (big_compare_sum(&r, &above, &s) >= 1 - even) {
        k++;
    } else {
        big_scale(&r, 10);
        big_scale(&above, 10);
        big_scale(&below, 10);
    }
    for (;;) {
        int digit = 0;
        for (; big_compare(&r, &s) >= 0; digit++) big_subtract(&r, &s);
        int low = big_compare(&r, &below) < even, high = big_compare_sum(&r, &above, &s) >= 1 - even;
        if (low || high) {
            int half = big_compare_sum(&r, &r, &s);
            if (high && (!low || half > 0 || (half == 0 && digit & 1))) digit++;
            digits[n++] = (char)('0' + digit);
            *point = k;
            return n;
        }
        digits[n++] = (char)('0' + digit);
        big_scale(&r, 10);
        big_scale(&above, 10);
        big_scale(&below, 10);
    }
}

static inline char *put_zeros(char *to, int n) {
    for (; n > 0; n--) *to++ = '0';
    return to;
}

/* Writes a finite number to `to` (NUMBER_TEXT_MAX bytes); returns the size of the text. */
static inline size_t number_text(double number, char *to) {
    union {
        double number;
        uint64_t bits;
    } both = {number};
    char digits[20], *p = to;
    int n, point;
    if (number == 0) {
        *to = '0';
        return 1;
    }
    if (both.bits >> 63) *p++ = '-';
    n = shortest_digits(both.bits & ~(1ull << 63), digits, &point);
    if (point > 21 || point < -5) {
        int e = point - 1;
        *p++ = digits[0];
        if (n > 1) *p++ = '.';
        memcpy(p, digits + 1, (size_t)n - 1);
        p += n - 1;
        *p++ = 'e';
        *p++ = e < 0 ? '-' : '+';
        if (e < 0) e = -e;
        if (e >= 100) *p++ = (char)('0' + e / 100);
        if (e >= 10) *p++ = (char)('0' + e / 10 % 10);
        *p++ = (char)('0' + e % 10);
        return (size_t)(p - to);
    }
    if (point <= 0) {
        *p++ = '0';
        *p++ = '.';
        p = put_zeros(p, -point);
        memcpy(p, digits, (size_t)n);
        return (size_t)(p + n - to);
    }
    int whole = n < point ? n : point;
    memcpy(p, digits, (size_t)whole);
    p = put_zeros(p + whole, point - n);
    if (n > point) {
        *p++ = '.';
        memcpy(p, digits + point, (size_t)(n - point));
        p += n - point;
    }
    return (size_t)(p - to);
}

#endif
