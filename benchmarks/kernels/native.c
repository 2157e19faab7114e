/* Times one kernel natively: `native NAME SIZE` prints its checksum and the seconds it took. */
#include "kernels.c"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const struct { const char *name; int64_t (*run)(int32_t); } KERNELS[] = {
    {"sha256", sha256}, {"collatz", collatz}, {"sieve", sieve}, {"matmul", matmul}, {"heat", heat}};

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  for (unsigned i = 0; i < sizeof KERNELS / sizeof *KERNELS; i++) {
    if (strcmp(argv[1], KERNELS[i].name)) continue;
    struct timespec a, b;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
    int64_t sum = KERNELS[i].run((int32_t)atoi(argv[2]));
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
    printf("%lld %.6f\n", (long long)sum,
           (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) / 1e9);
    return 0;
  }
  return 2;
}
