/* Evaluates an arithmetic expression exactly, on fractions, and writes the value as decimal text.
 *
 * expression := term (("+" | "-") term)*
 * term       := sign (("*" | "/") sign)*
 * sign       := ("-" | "+") sign | power
 * power      := atom (("^" | "**") sign)?          so 2^3^2 = 2^9, -2^2 = -4 and 2^-1 = 1/2
 * atom       := digits ["." digits] | "." digits | "(" expression ")"
 *
 * x, X, × and · multiply, ÷ divides, the sign − (U+2212) is a minus.
 */
#include "json.h"
#include "rational.h"
#include "record.h"

enum { DEPTH_MAX = 100, VALUES_MAX = 256, SIGNIFICANT_DIGITS = 50, EXACT_DIGITS_MAX = 100 };

static const uint8_t *at, *end;
static uint32_t position; /* of the character at `at`, from 1 */
static int depth;
static struct rational values[VALUES_MAX];
static int n_values;

static const char *error_code, *error_message;
static uint32_t error_position;

static int fail(const char *code, const char *message, uint32_t where) {
    error_code = code;
    error_message = message;
    error_position = where;
    return 0;
}

static void advance(void) {
    at += utf8_size(at, end);
    position++;
}

static int is_character(const char *utf8) {
    size_t n = vcp_text_len(utf8);
    return (size_t)(end - at) >= n && !memcmp(at, utf8, n);
}

/* The operator at this place as one of + - * / ^ ( ), or 0; skips white space before it. */
static char peek(void) {
    static const char *const multiply[] = {"x", "X", "×", "·"};
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r' || is_character("\u00a0"))) advance();
    if (at == end) return 0;
    if (is_character("**")) return '^';
    if (is_character("÷")) return '/';
    if (is_character("−")) return '-';
    for (int i = 0; i < 4; i++)
        if (is_character(multiply[i])) return '*';
    return (char)(*at == '+' || *at == '-' || *at == '*' || *at == '/' || *at == '^' || *at == '(' || *at == ')'
                      ? *at
                      : 0);
}

static void skip_operator(void) {
    if (is_character("**")) advance();
    advance();
}

static int parse_expression(void);

static int parse_number(void) {
    static struct nat top, bottom;
    uint32_t start = position;
    int digits = 0, point = 0;
    nat_set(&top, 0);
    nat_set(&bottom, 1);
    for (; at < end; advance()) {
        if (*at == '.' && !point) {
            point = 1;
        } else if (*at >= '0' && *at <= '9') {
            nat_scale(&top, 10, (uint32_t)(*at - '0'));
            if (point) nat_scale(&bottom, 10, 0);
            digits++;
            if (nat_bits(&top) > 2 * RATIONAL_BITS_MAX || nat_bits(&bottom) > 2 * RATIONAL_BITS_MAX)
                return fail("too_large", "the number is too long", start);
        } else {
            break;
        }
    }
    if (!digits || at[-1] == '.')
        return fail("syntax_error", "expected a number or \"(\"", digits ? position : start);
    if (n_values == VALUES_MAX) return fail("too_deep", "the expression is nested too deeply", start);
    if (rational_set(&values[n_values++], 0, &top, &bottom))
        return fail("too_large", "the number is too long", start);
    return 1;
}

static int parse_atom(void) {
    if (peek() != '(') return parse_number();
    uint32_t start = position;
    advance();
    if (!parse_expression()) return 0;
    if (peek() != ')') {
        if (at < end) return fail("syntax_error", "expected an operator or \")\"", position);
        return fail("syntax_error", "this \"(\" is never closed", start);
    }
    advance();
    return 1;
}

/* Takes the two topmost values and leaves one. */
static int apply(char operator, uint32_t where) {
    struct rational *b = &values[--n_values], *a = &values[n_values - 1];
    enum outcome outcome = operator == '*'   ? rational_multiply(a, b)
                           : operator == '/' ? rational_divide(a, b)
                           : operator == '^' ? rational_power(a, b)
                                             : rational_add(a, b, operator == '-');
    switch (outcome) {
    case DIVISION_BY_ZERO: return fail("division_by_zero", "division by zero", where);
    case BAD_EXPONENT: return fail("bad_exponent", "the exponent is not an integer", where);
    case TOO_LARGE: return fail("too_large", "the value needs more than 1024 bits", where);
    case FINE: break;
    }
    return 1;
}

static int parse_sign(void) {
    char sign = peek();
    if (++depth > DEPTH_MAX) return fail("too_deep", "the expression is nested too deeply", position);
    if (sign == '-' || sign == '+') {
        skip_operator();
        if (!parse_sign()) return 0;
        struct rational *value = &values[n_values - 1];
        if (sign == '-') value->negative = !value->negative && value->top.n;
    } else {
        if (!parse_atom()) return 0;
        if (peek() == '^') {
            uint32_t where = position;
            skip_operator();
            if (!parse_sign() || !apply('^', where)) return 0;
        }
    }
    depth--;
    return 1;
}

static int parse_term(void) {
    if (!parse_sign()) return 0;
    for (char operator; (operator = peek()) == '*' || operator == '/';) {
        uint32_t where = position;
        skip_operator();
        if (!parse_sign() || !apply(operator, where)) return 0;
    }
    return 1;
}

static int parse_expression(void) {
    if (!parse_term()) return 0;
    for (char operator; (operator = peek()) == '+' || operator == '-';) {
        uint32_t where = position;
        skip_operator();
        if (!parse_term() || !apply(operator, where)) return 0;
    }
    return 1;
}

/* --- writing the value --- */

static char text[1600];
static size_t text_n;

static void put(char c) { text[text_n++] = c; }

/* Uses x up. Puts a point before the last `places` digits, with zeros as needed. */
static void put_decimal(struct nat *x, int places) {
    static char digits[1300];
    int n = 0;
    while (x->n) {
        uint32_t group = nat_divide_small(x, 1000000000u);
        for (int i = 0; i < 9 && (x->n || group); i++, group /= 10) digits[n++] = (char)('0' + group % 10);
    }
    while (n <= places) digits[n++] = '0';
    while (n > places) put(digits[--n]);
    if (places) put('.');
    while (n > 0) put(digits[--n]);
}

/* How many decimal places the fraction 1/bottom needs, or -1 if no number of places is enough. */
static int places_needed(const struct rational *value) {
    static struct nat rest, quotient;
    static const uint32_t primes[2] = {2, 5};
    int places = 0;
    unpack(&rest, &value->bottom);
    for (int i = 0; i < 2; i++) {
        for (int count = 1;; count++) {
            nat_copy(&quotient, &rest);
            if (nat_divide_small(&quotient, primes[i])) break;
            nat_copy(&rest, &quotient);
            if (count > places) places = count;
        }
    }
    return nat_is_one(&rest) ? places : -1;
}

/* quotient = |value| * 10^places, rounded half to even; returns its number of digits. */
static int scale_and_round(struct nat *quotient, const struct rational *value, int places) {
    static struct nat rest, bottom, copy;
    unpack(&rest, &value->top);
    unpack(&bottom, &value->bottom);
    nat_scale_power_of_ten(&rest, places);
    nat_divide(quotient, &rest, &bottom);
    nat_shift_left(&rest, 1);
    int half = nat_compare(&rest, &bottom), digits = 0;
    if (half > 0 || (half == 0 && quotient->n && quotient->word[0] & 1)) {
        nat_set(&copy, 1);
        nat_add(quotient, quotient, &copy);
    }
    nat_copy(&copy, quotient);
    while (copy.n) {
        uint32_t group = nat_divide_small(&copy, 1000000000u);
        for (int i = 0; i < 9 && (copy.n || group); i++, group /= 10) digits++;
    }
    return digits;
}

static int put_value(const struct rational *value) {
    static struct nat scaled;
    int places = places_needed(value), exact = places >= 0 && places <= EXACT_DIGITS_MAX;
    if (value->negative) put('-');
    if (exact) {
        scale_and_round(&scaled, value, places);
        put_decimal(&scaled, places);
        return 1;
    }
    /* The fewest places that show 50 significant digits; whole digits are never cut. */
    places = 0;
    while (scale_and_round(&scaled, value, places) < SIGNIFICANT_DIGITS) places++;
    put_decimal(&scaled, places);
    return 0;
}

static void put_fraction(const struct rational *value) {
    static struct nat part;
    if (value->negative) put('-');
    unpack(&part, &value->top);
    put_decimal(&part, 0);
    unpack(&part, &value->bottom);
    if (nat_is_one(&part)) return;
    put('/');
    put_decimal(&part, 0);
}

static void flush_text(const char *name) {
    json_name(name);
    json_text((const uint8_t *)text, text_n);
    text_n = 0;
}

VCP_EXPORT("run") void run(void) {
    struct record in = record_open();
    struct text expression = record_text(&in);
    if (!record_is_good(&in)) {
        json_bad_input();
        return;
    }
    at = expression.bytes;
    end = at + expression.size;
    position = 1;
    int ok = parse_expression();
    peek();
    if (ok && at < end) ok = fail("syntax_error", "expected an operator", position);
    if (!ok) {
        json_error(error_code, error_message, error_position);
        return;
    }
    int exact = put_value(&values[0]);
    json_begin_result();
    json_name("exact");
    json_raw(exact ? "true" : "false", exact ? 4 : 5);
    size_t value_n = text_n;
    text_n = 0;
    static char value_text[sizeof text];
    memcpy(value_text, text, value_n);
    put_fraction(&values[0]);
    flush_text("fraction");
    json_name("value");
    json_text((const uint8_t *)value_text, value_n);
    json_end_result();
}
