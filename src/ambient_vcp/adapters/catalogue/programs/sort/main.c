/* Sorts numbers, or texts by code point; stable: equal items keep their order, in both directions. */
#include "json.h"
#include "number.h"
#include "record.h"

enum { NUMBERS = 0, TEXTS = 1, ITEMS_MAX = 100000 };

struct item {
    uint32_t place; /* in the input, from 0 */
    double number;
    struct text text;
};

static int kind, descending;

/* UTF-8 bytes compare as the code points do. */
static int compare_texts(struct text a, struct text b) {
    int order = memcmp(a.bytes, b.bytes, a.size < b.size ? a.size : b.size);
    return order ? order : a.size < b.size ? -1 : a.size > b.size;
}

/* Whether b must stand before a, where a comes first in the input. */
static int must_swap(const struct item *a, const struct item *b) {
    int order = kind == TEXTS ? compare_texts(a->text, b->text)
                              : a->number < b->number ? -1 : a->number > b->number;
    return descending ? order < 0 : order > 0;
}

/* Merges runs of doubling length; returns the array that ends up sorted. */
static struct item *merge_sort(struct item *from, struct item *to, uint32_t n) {
    for (uint32_t run = 1; run < n; run *= 2) {
        for (uint32_t start = 0; start < n; start += 2 * run) {
            uint32_t left = start, middle = start + run < n ? start + run : n;
            uint32_t right = middle, end = start + 2 * run < n ? start + 2 * run : n;
            for (uint32_t k = start; k < end; k++) {
                int take_right = left == middle || (right < end && must_swap(&from[left], &from[right]));
                to[k] = take_right ? from[right++] : from[left++];
            }
        }
        struct item *other = from;
        from = to;
        to = other;
    }
    return from;
}

static void write_result(const struct item *items, uint32_t n) {
    char text[NUMBER_TEXT_MAX];
    json_begin_result();
    json_name("count");
    json_unsigned(n);
    json_name("items");
    json_open('[');
    for (uint32_t i = 0; i < n; i++) {
        json_next();
        if (kind == TEXTS) json_text(items[i].text.bytes, items[i].text.size);
        else json_raw(text, number_text(items[i].number, text));
    }
    json_close(']');
    json_name("order");
    json_open('[');
    for (uint32_t i = 0; i < n; i++) {
        json_next();
        json_unsigned(items[i].place);
    }
    json_close(']');
    json_end_result();
}

VCP_EXPORT("run") void run(void) {
    struct record in = record_open();
    kind = record_byte(&in, TEXTS);
    uint32_t n = record_u32(&in);
    if (n > ITEMS_MAX) in.broken = 1;
    struct item *items = vcp_alloc(in.broken ? 0 : n * sizeof *items);
    for (uint32_t i = 0; i < n && !in.broken; i++) {
        items[i].place = i;
        if (kind == TEXTS) items[i].text = record_text(&in);
        else items[i].number = record_number(&in);
    }
    descending = record_byte(&in, 1);
    if (!record_is_good(&in)) {
        json_bad_input();
        return;
    }
    write_result(merge_sort(items, vcp_alloc(n * sizeof *items), n), n);
}
