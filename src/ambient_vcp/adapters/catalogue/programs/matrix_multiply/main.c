/* Multiplies two matrices of binary64 numbers. Each entry is summed from left to right, so that the
 * result is the same to the last bit on every machine. */
#include "json.h"
#include "number.h"
#include "record.h"

enum { SIDE_MAX = 256 };

struct matrix {
    uint32_t rows, columns;
    double *entry;
};

static struct matrix read_matrix(struct record *in) {
    struct matrix m = {record_u32(in), record_u32(in), NULL};
    if (m.rows < 1 || m.columns < 1 || m.rows > SIDE_MAX || m.columns > SIDE_MAX) {
        in->broken = 1;
        return m;
    }
    m.entry = vcp_alloc(m.rows * m.columns * sizeof(double));
    for (uint32_t i = 0; i < m.rows * m.columns; i++) m.entry[i] = record_number(in);
    return m;
}

/* Returns 0 when an entry is too large for a number. */
static int multiply(const struct matrix *a, const struct matrix *b, struct matrix *product) {
    for (uint32_t i = 0; i < a->rows; i++) {
        double *row = product->entry + i * b->columns;
        for (uint32_t k = 0; k < a->columns; k++) {
            double factor = a->entry[i * a->columns + k];
            const double *other = b->entry + k * b->columns;
            for (uint32_t j = 0; j < b->columns; j++) row[j] += factor * other[j];
        }
        for (uint32_t j = 0; j < b->columns; j++)
            if (!(__builtin_fabs(row[j]) <= 1.7976931348623157e308)) return 0;
    }
    return 1;
}

static void json_matrix(const struct matrix *m) {
    char text[NUMBER_TEXT_MAX];
    json_open('[');
    for (uint32_t i = 0; i < m->rows; i++) {
        json_next();
        json_open('[');
        for (uint32_t j = 0; j < m->columns; j++) {
            json_next();
            json_raw(text, number_text(m->entry[i * m->columns + j], text));
        }
        json_close(']');
    }
    json_close(']');
}

VCP_EXPORT("run") void run(void) {
    struct record in = record_open();
    struct matrix a = read_matrix(&in), b = in.broken ? a : read_matrix(&in);
    if (!record_is_good(&in)) {
        json_bad_input();
        return;
    }
    if (a.columns != b.rows) {
        json_error("shape_mismatch", "a must have as many columns as b has rows", 0);
        return;
    }
    struct matrix product = {a.rows, b.columns, vcp_alloc(a.rows * b.columns * sizeof(double))};
    if (!multiply(&a, &b, &product)) {
        json_error("overflow", "an entry of the product is too large for a number", 0);
        return;
    }
    json_begin_result();
    json_name("columns");
    json_unsigned(product.columns);
    json_name("product");
    json_matrix(&product);
    json_name("rows");
    json_unsigned(product.rows);
    json_end_result();
}
