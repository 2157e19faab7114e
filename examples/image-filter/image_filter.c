/* vcp-guest: bytes
 *
 * Turns a photograph into a pencil drawing: PNG in, PNG out. Gaussian blur against noise, then Sobel
 * gradients; the stronger the edge, the darker the stroke. Integers only, so every machine draws the
 * same picture to the last bit. A file that is no usable PNG is answered with one line of text that
 * begins with "error: ".
 */
#include "png.h"

static uint32_t clamp_index(int32_t i, uint32_t size) {
    return i < 0 ? 0 : (uint32_t)i >= size ? size - 1 : (uint32_t)i;
}

static uint32_t square_root(uint32_t n) {
    uint32_t root = 0;
    for (uint32_t bit = 1u << 15; bit; bit >>= 1)
        if ((root | bit) * (root | bit) <= n) root |= bit;
    return root;
}

/* Binomial weights 1 4 6 4 1 along one axis; `step` walks along it, `across` from line to line. */
static void blur_axis(const uint8_t *from, uint8_t *to, uint32_t length, uint32_t step, uint32_t lines,
                      uint32_t across) {
    for (uint32_t line = 0; line < lines; line++) {
        const uint8_t *p = from + line * across;
        for (uint32_t i = 0; i < length; i++) {
            uint32_t sum = 8;
            static const uint8_t weight[5] = {1, 4, 6, 4, 1};
            for (int32_t k = -2; k <= 2; k++)
                sum += weight[k + 2] * p[clamp_index((int32_t)i + k, length) * step];
            to[line * across + i * step] = (uint8_t)(sum >> 4);
        }
    }
}

static void draw_edges(const uint8_t *p, uint8_t *drawing, uint32_t width, uint32_t height) {
    for (uint32_t y = 0; y < height; y++) {
        const uint8_t *up = p + clamp_index((int32_t)y - 1, height) * width, *mid = p + y * width;
        const uint8_t *down = p + clamp_index((int32_t)y + 1, height) * width;
        for (uint32_t x = 0; x < width; x++) {
            uint32_t l = clamp_index((int32_t)x - 1, width), r = clamp_index((int32_t)x + 1, width);
            int32_t gx = up[r] + 2 * mid[r] + down[r] - up[l] - 2 * mid[l] - down[l];
            int32_t gy = down[l] + 2 * down[x] + down[r] - up[l] - 2 * up[x] - up[r];
            uint32_t strength = square_root((uint32_t)(gx * gx + gy * gy));
            drawing[y * width + x] = (uint8_t)(strength > 255 ? 0 : 255 - strength);
        }
    }
}

VCP_EXPORT("run") void run(void) {
    size_t n;
    struct png_header head;
    uint8_t *luma;
    const uint8_t *file = vcp_read_all(VCP_PUBLIC, &n);
    const char *problem = png_read_luma(file, n, &head, &luma);
    if (problem) {
        vcp_write("error: ", 7);
        vcp_write(problem, vcp_text_len(problem));
        return;
    }
    uint8_t *other = vcp_alloc((size_t)head.width * head.height);
    blur_axis(luma, other, head.width, 1, head.height, head.width);
    blur_axis(other, luma, head.height, head.width, head.width, 1);
    draw_edges(luma, other, head.width, head.height);
    png_write_grey(other, head.width, head.height);
}
