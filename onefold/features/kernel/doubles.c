/* Sums and extremes of DOUBLEs that are neither NULL nor filtered, two at a time. What is not ordinary (NaN, a zero that
   may have a sign, the very large and the very small) is left to the plain loops. */
#include "kernel.h"

#define BLOCK 256
#define LEAST 0x1p-14
#define LIMIT 0x1p25
/* Between them, doubles of this size are whole numbers of 2^-20. */
#define SHIFT (0x1.8p32)

typedef double pair __attribute__((vector_size(16)));
typedef int64_t mask __attribute__((vector_size(16)));

static inline pair load(const double *x)
{
    pair p;
    memcpy(&p, x, sizeof p);
    return p;
}

/* Whether each value is 0, or of a magnitude from 2^-14 on and below 2^25: a whole number of 2^-66. */
static int are_ordinary(const double *x, uint32_t n)
{
    mask wrong = {0, 0};
    const mask magnitude = {INT64_MAX, INT64_MAX};
    for (uint32_t i = 0; i + 2 <= n; i += 2) {
        pair a = (pair)((mask)load(x + i) & magnitude);
        wrong |= ~((a >= LEAST) & (a < LIMIT)) & ~(a == 0.0);
    }
    double last = n % 2 ? x[n - 1] : 0.0;
    if (last < 0) last = -last;
    return !wrong[0] && !wrong[1] && (last == 0.0 || (last >= LEAST && last < LIMIT));
}

/* The sum of a block, exactly: each value is cut at 2^-20, and no sum of at most 256 of either part has more than 53 bits. */
static void add_block(const double *x, uint32_t n, grid *g)
{
    pair above = {0, 0}, below = {0, 0};
    uint32_t i = 0;
    for (; i + 2 <= n; i += 2) {
        pair v = load(x + i), high = (v + SHIFT) - SHIFT;
        above += high;
        below += v - high;
    }
    double high = above[0] + above[1], low = below[0] + below[1];
    if (i < n) {
        double part = (x[i] + SHIFT) - SHIFT;
        high += part;
        low += x[i] - part;
    }
    grid_add(g, high);
    grid_add(g, low);
}

/* Adds as many values as are ordinary, a block at a time; how many these are. */
uint32_t add_ordinary(const double *x, uint32_t n, grid *g)
{
    uint32_t done = 0;
    while (done < n) {
        uint32_t size = n - done < BLOCK ? n - done : BLOCK;
        if (!are_ordinary(x + done, size)) return done;
        add_block(x + done, size, g);
        done += size;
    }
    return done;
}

/* The place of the first of the least or greatest values; -1 where one is NaN, or where that value is 0. */
int64_t first_extreme(const double *x, uint32_t n, int greatest)
{
    double best = x[0];
    pair b = {best, best};
    mask nan = {0, 0};
    uint32_t i = 0;
    for (; i + 2 <= n; i += 2) {
        pair v = load(x + i);
        mask better = greatest ? v > b : v < b;
        b = (pair)(((mask)v & better) | ((mask)b & ~better));
        nan |= v != v;
    }
    best = (greatest ? b[1] > b[0] : b[1] < b[0]) ? b[1] : b[0];
    if (i < n) {
        if (x[i] != x[i]) return -1;
        if (greatest ? x[i] > best : x[i] < best) best = x[i];
    }
    if (nan[0] || nan[1] || best == 0.0) return -1;
    for (i = 0; x[i] != best; i++) {}
    return i;
}
