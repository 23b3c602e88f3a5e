/*
 * What the parity kernels are measured against: the same work as a C compiler makes it of plain loops. One
 * function for each number of sources, so that all are read in one pass, as the kernels do.
 *
 * A line "xor|mismatch SOURCES BYTES REPEATS" on standard input does the work that often and answers with
 * the nanoseconds that it took. The sources hold zeroes, so that a search runs to the end.
 */
#define _GNU_SOURCE
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { MOST = 8, BLOCK = 256 };
typedef const uint8_t *restrict source;

#define X2 a[i] ^ b[i]
#define X3 X2 ^ c[i]
#define X4 X3 ^ d[i]
#define X5 X4 ^ e[i]
#define X6 X5 ^ f[i]
#define X7 X6 ^ g[i]
#define X8 X7 ^ h[i]

#define KERNELS(n)                                                                                         \
  static void xor##n(uint8_t *restrict t, source a, source b, source c, source d, source e, source f,      \
                     source g, source h, size_t bytes) {                                                   \
    (void)c, (void)d, (void)e, (void)f, (void)g, (void)h;                                                  \
    for (size_t i = 0; i < bytes; i++) t[i] = X##n;                                                        \
  }                                                                                                        \
  /* A loop that may end at any byte is not vectorised, so the search looks once a block. */               \
  static ptrdiff_t mismatch##n(source a, source b, source c, source d, source e, source f, source g,       \
                               source h, size_t bytes) {                                                   \
    (void)c, (void)d, (void)e, (void)f, (void)g, (void)h;                                                  \
    for (size_t at = 0; at < bytes; at += BLOCK) {                                                         \
      uint8_t found = 0;                                                                                   \
      for (size_t i = at; i < at + BLOCK; i++) found |= X##n;                                              \
      if (found) return (ptrdiff_t)at;                                                                     \
    }                                                                                                      \
    return -1;                                                                                             \
  }

KERNELS(2)
KERNELS(3)
KERNELS(4)
KERNELS(5)
KERNELS(6)
KERNELS(7)
KERNELS(8)

typedef void (*xor_function)(uint8_t *restrict, source, source, source, source, source, source, source,
                             source, size_t);
typedef ptrdiff_t (*mismatch_function)(source, source, source, source, source, source, source, source,
                                       size_t);

static const xor_function xors[] = {0, 0, xor2, xor3, xor4, xor5, xor6, xor7, xor8};
static const mismatch_function mismatches[] = {0,         0,         mismatch2, mismatch3, mismatch4,
                                               mismatch5, mismatch6, mismatch7, mismatch8};

static int64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

int main(void) {
  char what[16];
  int sources;
  size_t bytes, mapped = 0;
  long repeats;
  uint8_t *memory = NULL;
  while (scanf("%15s %d %zu %ld", what, &sources, &bytes, &repeats) == 4) {
    if (sources < 2 || sources > MOST || bytes % BLOCK != 0) return 2;
    if ((MOST + 1) * bytes > mapped) {
      if (memory) munmap(memory, mapped);
      mapped = (MOST + 1) * bytes;
      memory = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (memory == MAP_FAILED) return 3;
      /* Reads alone would all find the one zero page. */
      memset(memory, 0, mapped);
    }
    uint8_t *s[MOST + 1];
    for (int i = 0; i <= MOST; i++) s[i] = memory + (i <= sources ? i : 0) * bytes;
    uint8_t *target = s[sources];
    volatile ptrdiff_t found = -1;
    const int64_t start = now();
    if (strcmp(what, "xor") == 0) {
      for (long i = 0; i < repeats; i++)
        xors[sources](target, s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7], bytes);
    } else {
      for (long i = 0; i < repeats; i++)
        found = mismatches[sources](s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7], bytes);
    }
    const int64_t taken = now() - start;
    if (found != -1) return 4;
    printf("%lld\n", (long long)taken);
    fflush(stdout);
  }
  return 0;
}
