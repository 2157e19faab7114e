/* vcp-guest: scalar
 *
 * Fibonacci numbers by the recursive definition: slow on purpose, so that there is work to see.
 */
#include <stdint.h>

/* The recursion is kept: an optimiser that turned it into a loop would take the work away. */
__attribute__((export_name("fib"), noinline)) uint64_t fib(uint32_t n) {
    return n < 2 ? n : fib(n - 1) + fib(n - 2);
}
