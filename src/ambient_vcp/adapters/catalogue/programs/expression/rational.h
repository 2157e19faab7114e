/* Exact fractions, always in lowest terms, numerator and denominator of at most 1024 bits. */
#ifndef RATIONAL_H
#define RATIONAL_H

#include "bigint.h"

enum { RATIONAL_WORDS = 33, RATIONAL_BITS_MAX = 1024 };

struct small_nat {
    int n;
    uint32_t word[RATIONAL_WORDS];
};

struct rational {
    int negative; /* never for zero */
    struct small_nat top, bottom;
};

enum outcome { FINE, TOO_LARGE, DIVISION_BY_ZERO, BAD_EXPONENT };

static inline void unpack(struct nat *to, const struct small_nat *from) {
    to->n = from->n;
    memcpy(to->word, from->word, (size_t)from->n * 4);
}

static inline enum outcome pack(struct small_nat *to, const struct nat *from) {
    if (nat_bits(from) > RATIONAL_BITS_MAX) return TOO_LARGE;
    to->n = from->n;
    memcpy(to->word, from->word, (size_t)from->n * 4);
    return FINE;
}

/* Divides both by their common divisor and stores them. */
static inline enum outcome rational_set(struct rational *to, int negative, struct nat *top, struct nat *bottom) {
    static struct nat divisor, other, quotient;
    if (!nat_is_one(bottom)) {
        nat_copy(&divisor, top);
        nat_copy(&other, bottom);
        nat_gcd(&divisor, &other);
        if (!nat_is_one(&divisor)) {
            nat_divide(&quotient, top, &divisor);
            nat_copy(top, &quotient);
            nat_divide(&quotient, bottom, &divisor);
            nat_copy(bottom, &quotient);
        }
    }
    to->negative = negative && top->n;
    enum outcome outcome = pack(&to->top, top);
    return outcome ? outcome : pack(&to->bottom, bottom);
}

static struct nat a_top, a_bottom, b_top, b_bottom, left, right, result;

static inline void load(const struct rational *a, const struct rational *b) {
    unpack(&a_top, &a->top);
    unpack(&a_bottom, &a->bottom);
    unpack(&b_top, &b->top);
    unpack(&b_bottom, &b->bottom);
}

/* a += b, or a -= b when `minus`. */
static inline enum outcome rational_add(struct rational *a, const struct rational *b, int minus) {
    int negative = a->negative, b_negative = b->negative ^ minus;
    load(a, b);
    nat_multiply(&left, &a_top, &b_bottom);
    nat_multiply(&right, &b_top, &a_bottom);
    nat_multiply(&result, &a_bottom, &b_bottom);
    if (negative == b_negative) {
        nat_add(&left, &left, &right);
    } else if (nat_compare(&left, &right) >= 0) {
        nat_subtract(&left, &left, &right);
    } else {
        nat_subtract(&left, &right, &left);
        negative = b_negative;
    }
    return rational_set(a, negative, &left, &result);
}

static inline enum outcome rational_multiply(struct rational *a, const struct rational *b) {
    load(a, b);
    nat_multiply(&left, &a_top, &b_top);
    nat_multiply(&right, &a_bottom, &b_bottom);
    return rational_set(a, a->negative ^ b->negative, &left, &right);
}

static inline enum outcome rational_divide(struct rational *a, const struct rational *b) {
    if (!b->top.n) return DIVISION_BY_ZERO;
    load(a, b);
    nat_multiply(&left, &a_top, &b_bottom);
    nat_multiply(&right, &a_bottom, &b_top);
    return rational_set(a, a->negative ^ b->negative, &left, &right);
}

/* a = a ^ b for an integer b. Powers of -1, 0 and 1 take any exponent. */
static inline enum outcome rational_power(struct rational *a, const struct rational *b) {
    struct rational base = *a, one = {0, {1, {1}}, {1, {1}}};
    int whole = b->bottom.n == 1 && b->bottom.word[0] == 1, odd = b->top.n && b->top.word[0] & 1;
    if (!whole) return BAD_EXPONENT;
    if (!a->top.n) {
        if (b->negative) return DIVISION_BY_ZERO;
        if (!b->top.n) *a = one;
        return FINE;
    }
    if (a->top.n == 1 && a->top.word[0] == 1 && a->bottom.n == 1 && a->bottom.word[0] == 1) {
        a->negative &= odd;
        return FINE;
    }
    if (b->top.n > 1 || (b->top.n && b->top.word[0] > RATIONAL_BITS_MAX)) return TOO_LARGE;
    *a = one;
    for (uint32_t n = b->top.n ? b->top.word[0] : 0; n; n--) {
        enum outcome outcome = rational_multiply(a, &base);
        if (outcome) return outcome;
    }
    return b->negative ? (base = *a, *a = one, rational_divide(a, &base)) : FINE;
}

#endif
