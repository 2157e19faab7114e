/* Numbers as text, the way RFC 8785 (canonical JSON) and ECMAScript write them: the fewest digits that
 * read back as the same binary64, and of those the closest. Algorithm: Raffaello Giulietti, "The
 * Schubfach way to render doubles", 2020. Its table of powers of ten is computed as needed. */
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

static inline void big_power_of_ten(struct big *x, int power) {
    x->n = 1;
    x->word[0] = 1;
    for (; power >= 9; power -= 9) big_scale(x, 1000000000u);
    for (; power > 0; power--) big_scale(x, 10);
}

static inline void big_shift_left(struct big *x, int bits) {
    int skip = bits / 32;
    if (skip) {
        memmove(x->word + skip, x->word, (size_t)x->n * 4);
        memset(x->word, 0, (size_t)skip * 4);
        x->n += skip;
    }
    big_scale(x, 1u << bits % 32);
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

struct wide {
    uint64_t high, low;
};

enum { POWER_MIN = -292, POWER_MAX = 324 };

static inline int floor_log2_of_power_of_ten(int power) { return power * 1741647 >> 19; }

/* 10^power * 2^(127 - floor(log2(10^power))), rounded up: 128 bits of which the highest is set. */
static inline struct wide power_of_ten(int power) {
    static struct wide known[POWER_MAX - POWER_MIN + 1];
    static struct big top, bottom;
    struct wide *found = &known[power - POWER_MIN];
    if (found->high) return *found;
    int shift = 127 - floor_log2_of_power_of_ten(power);
    big_power_of_ten(&top, power > 0 ? power : 0);
    big_power_of_ten(&bottom, power < 0 ? -power : 0);
    big_shift_left(&top, shift > 0 ? shift : 0);
    big_shift_left(&bottom, (shift < 0 ? -shift : 0) + 127);
    for (int i = 0; i < 128; i++) {
        found->high = found->high << 1 | found->low >> 63;
        found->low <<= 1;
        if (big_compare(&top, &bottom) >= 0) {
            big_subtract(&top, &bottom);
            found->low |= 1;
        }
        big_scale(&top, 2);
    }
    if (top.n && !++found->low) found->high++;
    return *found;
}

static inline struct wide wide_multiply(uint64_t a, uint64_t b) {
    uint64_t low = (uint64_t)(uint32_t)a * (uint32_t)b, cross = (a >> 32) * (uint32_t)b + (low >> 32);
    /* Hides the pattern from the optimiser, which would call a 128-bit multiplication of a library. */
    __asm__("" : "+r"(cross));
    uint64_t other = (uint64_t)(uint32_t)a * (b >> 32) + (uint32_t)cross;
    struct wide product = {(a >> 32) * (b >> 32) + (cross >> 32) + (other >> 32), other << 32 | (uint32_t)low};
    return product;
}

/* The integer part of power * factor / 2^128; its lowest bit also stands for everything cut off. */
static inline uint64_t round_to_odd(struct wide power, uint64_t factor) {
    struct wide high = wide_multiply(power.high, factor);
    uint64_t middle = high.low + wide_multiply(power.low, factor).high;
    return (high.high + (middle < high.low)) | (middle > 1);
}

/* A positive finite number as digits * 10^exponent, digits without zeros at the end. */
static inline uint64_t shortest_decimal(uint64_t bits, int *exponent) {
    uint64_t fraction = bits & ((1ull << 52) - 1), c = fraction;
    int biased = (int)(bits >> 52), q = -1074, closer = !fraction && biased > 1;
    if (biased) {
        c |= 1ull << 52;
        q = biased - 1075;
    }
    /* Of the three neighbours in quarter units: below, the number itself, above. */
    int k = (q * 1262611 - (closer ? 524031 : 0)) >> 22;
    int shift = q + floor_log2_of_power_of_ten(-k) + 1;
    struct wide power = power_of_ten(-k);
    uint64_t below = round_to_odd(power, (4 * c - 2 + (uint64_t)closer) << shift) + (c & 1);
    uint64_t here = round_to_odd(power, 4 * c << shift);
    uint64_t above = round_to_odd(power, (4 * c + 2) << shift) - (c & 1);
    uint64_t s = here / 4, shorter = s / 10, digits;
    int low = below <= 40 * shorter, high = 40 * shorter + 40 <= above;
    if (s >= 10 && low != high) {
        digits = shorter + (uint64_t)high;
        k++;
    } else {
        low = below <= 4 * s;
        high = 4 * s + 4 <= above;
        uint64_t middle = 4 * s + 2;
        int nearer_up = here > middle || (here == middle && s & 1);
        digits = s + (uint64_t)(low != high ? high : nearer_up);
    }
    for (; digits % 10 == 0; digits /= 10) k++;
    *exponent = k;
    return digits;
}

/* Digits of a positive finite number: value = 0.d1 d2 ... * 10^point. Returns how many digits. */
static inline int shortest_digits(uint64_t bits, char *digits, int *point) {
    uint64_t value = shortest_decimal(bits, point);
    char reversed[20];
    int n = 0;
    for (; value; value /= 10) reversed[n++] = (char)('0' + value % 10);
    for (int i = 0; i < n; i++) digits[i] = reversed[n - 1 - i];
    *point += n;
    return n;
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
