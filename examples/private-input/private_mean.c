/* vcp-guest: bytes
 *
 * Publishes an aggregate of numbers that stay private. The private input (kind 1) holds integers,
 * separated by white space or commas; the public input (kind 0) holds the smallest group size that
 * may be published, as decimal digits. The output has the count and the mean, rounded down, and
 * nothing else; a group that is too small gets only a refusal.
 */
#include "vcp.h"

enum { SMALLEST_GROUP = 3, DIGITS_MAX = 12 };

static int is_digit(uint8_t c) { return c >= '0' && c <= '9'; }

static void write_number(int64_t value) {
    char text[21];
    int at = sizeof text;
    uint64_t left = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do text[--at] = (char)('0' + left % 10);
    while (left /= 10);
    if (value < 0) text[--at] = '-';
    vcp_write(text + at, sizeof text - (size_t)at);
}

static void write_text(const char *text) { vcp_write(text, vcp_text_len(text)); }

/* Reads one integer of at most 12 digits at *at. Returns 0 when there is none. */
static int read_number(const uint8_t **at, int64_t *value) {
    const uint8_t *p = *at;
    int negative = *p == '-', digits = 0;
    p += negative;
    for (*value = 0; is_digit(*p); p++, digits++)
        if (digits < DIGITS_MAX) *value = *value * 10 + (*p - '0');
    if (negative) *value = -*value;
    *at = p;
    return digits > 0 && digits <= DIGITS_MAX;
}

VCP_EXPORT("run") void run(void) {
    size_t public_size, private_size;
    const uint8_t *at = vcp_read_all(VCP_PUBLIC, &public_size);
    int64_t group_min = SMALLEST_GROUP, value, sum = 0, count = 0;
    if (public_size && (!read_number(&at, &group_min) || group_min < SMALLEST_GROUP)) {
        write_text("error: the public input is a group size of 3 or more\n");
        return;
    }
    at = vcp_read_all(VCP_PRIVATE, &private_size);
    const uint8_t *end = at + private_size;
    while (at < end) {
        if (*at == ' ' || *at == ',' || *at == '\n' || *at == '\r' || *at == '\t') {
            at++;
            continue;
        }
        if (!read_number(&at, &value)) {
            write_text("error: the private input holds something that is not an integer\n");
            return;
        }
        sum += value;
        count++;
    }
    if (count < group_min) {
        write_text("refused: the group is too small to publish\n");
        return;
    }
    int64_t mean = sum / count - (sum % count < 0);
    write_text("count ");
    write_number(count);
    write_text("\nmean ");
    write_number(mean);
    write_text("\n");
}
