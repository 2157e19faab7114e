/* vcp-guest: scalar +simd128 +bulk_memory -O3 */
/* Five kernels, the same source for the guest and for the native build. Each takes a size and
 * returns a checksum, so that both can be compared and nothing is optimised away.
 *
 * In a guest each turn of a loop also counts fuel and each access checks its bounds: fewer turns
 * and accesses held in registers are what makes one fast, so the hot loops are unrolled there.
 * gcc -O2 would not use the hints. */
#include <stdint.h>

#ifdef __wasm__
#define EXPORT(name) __attribute__((export_name(#name)))
#else
#define EXPORT(name)
#endif

#ifdef __clang__
#define HINT(text) _Pragma(#text)
#else
#define HINT(text)
#endif

static const uint32_t K[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t rotr(uint32_t x, int n) { return x >> n | x << (32 - n); }

/* SHA-256 compression of n blocks that follow from each other. */
EXPORT(sha256) int64_t sha256(int32_t n) {
  uint32_t h[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                   0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  for (int32_t block = 0; block < n; block++) {
    uint32_t w[64];
    for (int i = 0; i < 16; i++) w[i] = h[i & 7] ^ (uint32_t)(block * 16 + i);
    HINT(clang loop unroll(full))
    for (int i = 16; i < 64; i++) {
      uint32_t s0 = rotr(w[i - 15], 7) ^ rotr(w[i - 15], 18) ^ w[i - 15] >> 3;
      uint32_t s1 = rotr(w[i - 2], 17) ^ rotr(w[i - 2], 19) ^ w[i - 2] >> 10;
      w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    uint32_t a = h[0], b = h[1], c = h[2], d = h[3], e = h[4], f = h[5], g = h[6], p = h[7];
    HINT(clang loop unroll(full))
    for (int i = 0; i < 64; i++) {
      uint32_t s1 = rotr(e, 6) ^ rotr(e, 11) ^ rotr(e, 25);
      uint32_t t1 = p + s1 + ((e & f) ^ (~e & g)) + K[i] + w[i];
      uint32_t s0 = rotr(a, 2) ^ rotr(a, 13) ^ rotr(a, 22);
      uint32_t t2 = s0 + ((a & b) ^ (a & c) ^ (b & c));
      p = g; g = f; f = e; e = d + t1; d = c; c = b; b = a; a = t1 + t2;
    }
    h[0] += a; h[1] += b; h[2] += c; h[3] += d; h[4] += e; h[5] += f; h[6] += g; h[7] += p;
  }
  return (int64_t)(((uint64_t)h[0] << 32) | h[7]);
}

/* Longest Collatz chain below n. */
EXPORT(collatz) int64_t collatz(int32_t n) {
  int64_t best = 0, best_steps = 0;
  for (int64_t start = 1; start < n; start++) {
    uint64_t x = (uint64_t)start;
    int64_t steps = 0;
    while (x != 1) {
      x = x & 1 ? 3 * x + 1 : x >> 1;
      steps++;
    }
    if (steps > best_steps) { best_steps = steps; best = start; }
  }
  return best * 1000 + best_steps;
}

/* Primes below 2,000,000, n times over. */
#define SIEVE 2000000
static uint8_t sieve_marks[SIEVE];
EXPORT(sieve) int64_t sieve(int32_t n) {
  int64_t count = 0;
  for (int32_t round = 0; round < n; round++) {
    for (int32_t i = 0; i < SIEVE; i++) sieve_marks[i] = 1;
    for (int32_t i = 2; i * i < SIEVE; i++)
      if (sieve_marks[i]) {
        HINT(clang loop unroll_count(8))
        for (int32_t j = i * i; j < SIEVE; j += i) sieve_marks[j] = 0;
      }
    for (int32_t i = 2; i < SIEVE; i++) count += sieve_marks[i];
  }
  return count;
}

static int64_t bits_of(double value) {
  union { double value; int64_t bits; } both = {value};
  return both.bits;
}

/* Product of two 256 x 256 matrices of doubles, n times. */
#define SIDE 256
static double left[SIDE * SIDE], right[SIDE * SIDE], product[SIDE * SIDE];
EXPORT(matmul) int64_t matmul(int32_t n) {
  for (int32_t i = 0; i < SIDE * SIDE; i++) {
    left[i] = (double)(i % 17) * 0.25;
    right[i] = (double)(i % 13) * 0.5;
  }
  for (int32_t round = 0; round < n; round++) {
    for (int32_t i = 0; i < SIDE * SIDE; i++) product[i] = 0;
    for (int32_t i = 0; i < SIDE; i++)
      for (int32_t k = 0; k < SIDE; k++) {
        double factor = left[i * SIDE + k];
        HINT(clang loop interleave_count(8))
        for (int32_t j = 0; j < SIDE; j++) product[i * SIDE + j] += factor * right[k * SIDE + j];
      }
    left[round % (SIDE * SIDE)] += product[round % SIDE] * 1e-9;
  }
  double sum = 0;
  for (int32_t i = 0; i < SIDE * SIDE; i++) sum += product[i];
  return bits_of(sum);
}

/* n steps of a 1,024-point heat equation in doubles. */
#define POINTS 1024
static double heat_now[POINTS], heat_next[POINTS];
EXPORT(heat) int64_t heat(int32_t n) {
  for (int32_t i = 0; i < POINTS; i++) heat_now[i] = (double)(i % 10);
  for (int32_t step = 0; step < n; step++) {
    HINT(clang loop interleave_count(8))
    for (int32_t i = 1; i < POINTS - 1; i++)
      heat_next[i] = heat_now[i] + 0.1 * (heat_now[i - 1] - 2.0 * heat_now[i] + heat_now[i + 1]);
    heat_next[0] = heat_now[0];
    heat_next[POINTS - 1] = heat_now[POINTS - 1];
    HINT(clang loop interleave_count(8))
    for (int32_t i = 0; i < POINTS; i++) heat_now[i] = heat_next[i];
  }
  double sum = 0;
  for (int32_t i = 0; i < POINTS; i++) sum += heat_now[i];
  return bits_of(sum);
}
