/* Estimates pi by throwing points into a square and counting those inside the quarter circle.
 *
 * The points come from SplitMix64 (Steele, Lea, Flood 2014), two coordinates of 31 bits from each
 * number, and the test uses integers only: same seed and samples, same answer, everywhere. The grid of
 * 2^31 points a side shifts the expected value by less than 1e-9.
 */
#include "json.h"
#include "record.h"

enum { SAMPLES_MAX = 50000000 };

static uint64_t state;

static uint64_t next_random(void) {
    uint64_t z = (state += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

/* value / 10^9 as a decimal text without trailing zeros */
static void json_billionths(uint64_t value) {
    uint64_t rest = value % 1000000000u, unit = 100000000u;
    json_unsigned(value / 1000000000u);
    if (rest) json_byte('.');
    for (; rest; rest %= unit, unit /= 10) json_byte((uint8_t)('0' + rest / unit));
}

VCP_EXPORT("run") void run(void) {
    struct record in = record_open();
    uint64_t samples = record_u64(&in), inside = 0;
    state = record_u64(&in);
    if (!record_is_good(&in) || samples < 1 || samples > SAMPLES_MAX) {
        json_bad_input();
        return;
    }
    for (uint64_t i = 0; i < samples; i++) {
        uint64_t random = next_random(), x = random >> 33, y = (uint32_t)random >> 1;
        inside += x * x + y * y < 1ull << 62;
    }
    double n = (double)samples, share = (double)inside / n;
    double standard_error = 4 * __builtin_sqrt(share * (1 - share) / n);
    json_begin_result();
    json_name("estimate");
    json_billionths((4 * inside * 1000000000u + samples / 2) / samples);
    json_name("inside");
    json_unsigned(inside);
    json_name("samples");
    json_unsigned(samples);
    json_name("standard_error");
    json_billionths((uint64_t)(standard_error * 1e9 + 0.5));
    json_end_result();
}
