/* Counts what is in a text: bytes, characters, words, sentences, lines, and which words stand out.
 *
 * A word is a run of letters and digits, with single apostrophes or hyphens inside; every character
 * above U+007F counts as a letter unless it is punctuation or a space. Words are compared in lower
 * case, for the letters A to Z. A sentence ends with . ! or ? (or several) before white space or the
 * end; what follows the last of them counts as one if it has a word. A line ends with a line feed; what
 * follows the last counts as one unless it is empty. A number is a run of digits that begins no word's
 * middle, with an optional minus sign before it and a fraction after it.
 */
#include "json.h"
#include "record.h"

enum { KEYWORDS_MAX = 8, KEYWORD_LETTERS_MIN = 4, NUMBERS_MAX = 8, SUMMARY_WORDS = 18 };

struct word {
    struct text text;
    uint32_t count;
};

static struct word *table;
static uint32_t slots, unique;

static uint32_t bytes_n, characters, words, sentences, lines;
static struct text longest, numbers[NUMBERS_MAX], summary;
static uint32_t longest_characters, numbers_n, summary_words;

static uint32_t decode(const uint8_t *p, uint32_t n) {
    uint32_t c = n == 1 ? *p : *p & (0x7f >> n);
    for (uint32_t i = 1; i < n; i++) c = c << 6 | (p[i] & 0x3f);
    return c;
}

static int is_digit(uint32_t c) { return c >= '0' && c <= '9'; }

static int is_space(uint32_t c) {
    return c == ' ' || (c >= 9 && c <= 13) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

static int is_word_character(uint32_t c) {
    if (c < 0x80) return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (c < 0xc0) return c == 0xaa || c == 0xb5 || c == 0xba;
    return c != 0xd7 && c != 0xf7 && !(c >= 0x2000 && c <= 0x206f) && !(c >= 0x3000 && c <= 0x303f) &&
           c != 0x1680 && c != 0xfeff && !(c >= 0xff00 && c <= 0xff0f);
}

static uint8_t lower(uint8_t c) { return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c; }

static int compare(struct text a, struct text b) {
    for (uint32_t i = 0; i < a.size && i < b.size; i++)
        if (lower(a.bytes[i]) != lower(b.bytes[i])) return lower(a.bytes[i]) < lower(b.bytes[i]) ? -1 : 1;
    return a.size < b.size ? -1 : a.size > b.size;
}

static struct word *find(struct text word) {
    uint32_t hash = 2166136261u;
    for (uint32_t i = 0; i < word.size; i++) hash = (hash ^ lower(word.bytes[i])) * 16777619u;
    uint32_t slot = (hash ^ hash >> 15) & (slots - 1);
    while (table[slot].count && compare(table[slot].text, word)) slot = (slot + 1) & (slots - 1);
    return &table[slot];
}

static void see_word(struct text word, uint32_t n_characters) {
    struct word *entry = find(word);
    if (!entry->count++) {
        entry->text = word;
        unique++;
    }
    words++;
    if (n_characters > longest_characters) {
        longest = word;
        longest_characters = n_characters;
    }
    if (summary_words < SUMMARY_WORDS) {
        if (!summary_words++) summary.bytes = word.bytes;
        summary.size = (uint32_t)(word.bytes + word.size - summary.bytes);
    }
}

/* The word that starts at p; counts its characters. */
static struct text scan_word(const uint8_t *p, const uint8_t *end, uint32_t *n_characters) {
    struct text word = {p, 0};
    *n_characters = 0;
    while (p < end) {
        uint32_t n = utf8_size(p, end), c = decode(p, n);
        if (!is_word_character(c)) {
            int joins = c == '\'' || c == '-' || c == 0x2019;
            const uint8_t *next = p + n;
            uint32_t m = utf8_size(next, end);
            if (!joins || !m || !is_word_character(decode(next, m))) break;
        }
        p += n;
        ++*n_characters;
    }
    word.size = (uint32_t)(p - word.bytes);
    return word;
}

static void scan_words(const uint8_t *p, const uint8_t *end) {
    int open = 0; /* a word has been seen since the last end of a sentence */
    while (p < end) {
        uint32_t n = utf8_size(p, end), c = decode(p, n), n_characters;
        if (is_word_character(c)) {
            struct text word = scan_word(p, end, &n_characters);
            see_word(word, n_characters);
            p += word.size;
            open = 1;
            continue;
        }
        p += n;
        if (open && (c == '.' || c == '!' || c == '?')) {
            uint32_t m = utf8_size(p, end);
            if (!m || is_space(decode(p, m))) {
                sentences++;
                open = 0;
            }
        }
    }
    sentences += (uint32_t)open;
}

static void scan_numbers(const uint8_t *start, const uint8_t *end) {
    int inside_word = 0;
    for (const uint8_t *p = start; p < end;) {
        uint32_t n = utf8_size(p, end), c = decode(p, n);
        if (!is_digit(c) || inside_word) {
            inside_word = is_word_character(c);
            p += n;
            continue;
        }
        struct text number = {p, 0};
        if (p > start && p[-1] == '-' && (p - 1 == start || !is_word_character(p[-2]))) number.bytes--;
        while (p < end && is_digit(*p)) p++;
        if (end - p >= 2 && *p == '.' && is_digit(p[1]))
            for (p++; p < end && is_digit(*p); p++) {}
        number.size = (uint32_t)(p - number.bytes);
        if (numbers_n < NUMBERS_MAX) numbers[numbers_n++] = number;
        inside_word = 1;
    }
}

static void scan_characters(const uint8_t *p, const uint8_t *end) {
    bytes_n = (uint32_t)(end - p);
    for (const uint8_t *q = p; q < end; q++) {
        characters += (*q & 0xc0) != 0x80;
        lines += *q == '\n';
    }
    lines += bytes_n && end[-1] != '\n';
}

static void json_lower(struct text word) {
    uint8_t *copy = vcp_alloc(word.size);
    for (uint32_t i = 0; i < word.size; i++) copy[i] = lower(word.bytes[i]);
    json_text(copy, word.size);
}

/* Whether the word counts as a keyword: at least four letters, and not only digits. */
static int is_keyword(struct text word) {
    uint32_t letters = 0;
    for (const uint8_t *p = word.bytes, *end = p + word.size; p < end;) {
        uint32_t n = utf8_size(p, end), c = decode(p, n);
        letters += is_word_character(c) && !is_digit(c);
        p += n;
    }
    return letters >= KEYWORD_LETTERS_MIN;
}

/* The commonest first, equally common ones by the alphabet. */
static void json_keywords(void) {
    struct word *best[KEYWORDS_MAX + 1];
    uint32_t n = 0;
    for (uint32_t i = 0; i < slots; i++) {
        if (!table[i].count || !is_keyword(table[i].text)) continue;
        uint32_t k = n;
        for (; k > 0 && (best[k - 1]->count < table[i].count ||
                         (best[k - 1]->count == table[i].count && compare(best[k - 1]->text, table[i].text) > 0));
             k--)
            best[k] = best[k - 1];
        best[k] = &table[i];
        if (n < KEYWORDS_MAX) n++;
    }
    json_open('[');
    for (uint32_t i = 0; i < n; i++) {
        json_next();
        json_open('{');
        json_name("count");
        json_unsigned(best[i]->count);
        json_name("text");
        json_lower(best[i]->text);
        json_close('}');
    }
    json_close(']');
}

static void json_count(const char *name, uint32_t value) {
    json_name(name);
    json_unsigned(value);
}

static void write_result(void) {
    json_begin_result();
    json_count("bytes", bytes_n);
    json_count("characters", characters);
    json_name("keywords");
    json_keywords();
    json_count("lines", lines);
    json_name("longest_word");
    json_lower(longest);
    json_name("numbers");
    json_open('[');
    for (uint32_t i = 0; i < numbers_n; i++) {
        json_next();
        json_text(numbers[i].bytes, numbers[i].size);
    }
    json_close(']');
    json_count("sentences", sentences);
    json_name("summary");
    json_text(summary.bytes, summary.size);
    json_count("unique_words", unique);
    json_count("words", words);
    json_end_result();
}

VCP_EXPORT("run") void run(void) {
    struct record in = record_open();
    struct text text = record_text(&in);
    if (!record_is_good(&in)) {
        json_bad_input();
        return;
    }
    /* A word takes at least two bytes with what parts it from the next, so half of this stays free. */
    for (slots = 16; slots < text.size + 2; slots *= 2) {}
    table = vcp_alloc(slots * sizeof *table);
    const uint8_t *end = text.bytes + text.size;
    scan_characters(text.bytes, end);
    scan_words(text.bytes, end);
    scan_numbers(text.bytes, end);
    write_result();
}
