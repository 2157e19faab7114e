/* vcp-guest: scalar
 *
 * The smallest guest: plain exported functions, called with `--invoke NAME ARGS`.
 */
#include <stdint.h>

#define EXPORT(name) __attribute__((export_name(name)))

EXPORT("add") int32_t add(int32_t a, int32_t b) { return (int32_t)((uint32_t)a + (uint32_t)b); }

EXPORT("mul") int32_t mul(int32_t a, int32_t b) { return (int32_t)((uint32_t)a * (uint32_t)b); }

/* Exact up to fib(92); larger results wrap modulo 2^64. A negative n counts as 0. */
EXPORT("fib") int64_t fib(int32_t n) {
    uint64_t a = 0, b = 1;
    while (n-- > 0) {
        uint64_t next = a + b;
        a = b;
        b = next;
    }
    return (int64_t)a;
}

/* The volatile copy keeps the division, so that b = 0 traps instead of being undefined. */
EXPORT("divide") int32_t divide(int32_t a, int32_t b) {
    volatile int32_t divisor = b;
    return a / divisor;
}

EXPORT("hypot") double hypotenuse(double x, double y) { return __builtin_sqrt(x * x + y * y); }
