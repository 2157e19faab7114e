/* vcp-guest: wasi
 *
 * Counts lines, words and bytes of standard input, and the commonest words of at least N letters
 * (argument 1, default 1). An ordinary C program: nothing in it knows where it runs.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOP = 10, SLOTS_START = 1 << 12, WORD_MAX = 64 };

struct entry {
    char *word;
    unsigned long count;
};

static struct entry *table;
static size_t slots, used;

static struct entry *find(struct entry *in, size_t n_slots, const char *word) {
    unsigned long hash = 2166136261u;
    for (const char *p = word; *p; p++) hash = (hash ^ (unsigned char)*p) * 16777619u;
    size_t at = hash & (n_slots - 1);
    while (in[at].word && strcmp(in[at].word, word)) at = (at + 1) & (n_slots - 1);
    return &in[at];
}

static void *must(void *memory) {
    if (memory) return memory;
    fputs("word_count: out of memory\n", stderr);
    exit(1);
}

static void grow(void) {
    size_t bigger = slots ? slots * 2 : SLOTS_START;
    struct entry *next = must(calloc(bigger, sizeof *next));
    for (size_t i = 0; i < slots; i++)
        if (table[i].word) *find(next, bigger, table[i].word) = table[i];
    free(table);
    table = next;
    slots = bigger;
}

static void count_word(const char *word) {
    if (used * 2 >= slots) grow();
    struct entry *e = find(table, slots, word);
    if (!e->word) {
        e->word = must(strdup(word));
        used++;
    }
    e->count++;
}

static int by_count_then_word(const void *a, const void *b) {
    const struct entry *x = a, *y = b;
    if (x->count != y->count) return x->count < y->count ? 1 : -1;
    if (!x->word || !y->word) return 0;
    return strcmp(x->word, y->word);
}

int main(int argc, char **argv) {
    size_t letters_min = argc > 1 ? (size_t)strtoul(argv[1], NULL, 10) : 1;
    unsigned long lines = 0, words = 0, bytes = 0;
    char word[WORD_MAX];
    size_t letters = 0;
    int c, in_word = 0;
    if (letters_min < 1 || letters_min >= WORD_MAX) {
        fprintf(stderr, "word_count: the argument is a number of letters, 1 to %d\n", WORD_MAX - 1);
        return 2;
    }
    do {
        c = getchar();
        bytes += c != EOF;
        lines += c == '\n';
        if (c == EOF || isspace(c)) in_word = 0;
        else if (!in_word) in_word = 1, words++;
        if (c != EOF && isalpha(c)) {
            if (letters < WORD_MAX - 1) word[letters++] = (char)tolower(c);
        } else if (letters) {
            word[letters] = 0;
            if (letters >= letters_min) count_word(word);
            letters = 0;
        }
    } while (c != EOF);
    printf("lines %lu\nwords %lu\nbytes %lu\ndistinct %zu\n", lines, words, bytes, used);
    if (used) qsort(table, slots, sizeof *table, by_count_then_word);
    for (size_t i = 0; i < TOP && i < used; i++) printf("%7lu %s\n", table[i].count, table[i].word);
    return 0;
}
