/* DOUBLEs that are 0.0, or of a magnitude from 2^-14 on and below 2^25: whole numbers of 2^-66, as hundredths are. Their
   sums are exact in plain arithmetic, and two are taken at a time. */
#include "kernel.h"

#define BLOCK 256
/* Added and taken away again, it leaves a whole number of 2^-20. */
#define SHIFT (0x1.8p32)

typedef double pair __attribute__((vector_size(16)));
typedef int32_t ints __attribute__((vector_size(8)));

static inline pair load(const double *x)
{
    pair p;
    memcpy(&p, x, sizeof p);
    return p;
}

int is_ordinary(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, 8);
    double magnitude = x < 0 ? -x : x;
    return !bits || (magnitude >= 0x1p-14 && magnitude < 0x1p25);
}

void unpack_cents(const uint8_t *data, uint32_t n, double *out)
{
    uint32_t i = 0;
    for (; i + 2 <= n; i += 2) {
        ints k;
        memcpy(&k, data + 4 * (size_t)i, sizeof k);
        pair p = __builtin_convertvector(k, pair) / 100.0;
        memcpy(out + i, &p, sizeof p);
    }
    if (i < n) out[i] = read_i32(data + 4 * (size_t)i) / 100.0;
}

/* The sum of a block, exactly: of neither part of its values has a sum of at most 256 more than 53 bits. */
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

void add_ordinary(const double *x, uint32_t n, grid *g)
{
    for (uint32_t done = 0; done < n; done += BLOCK) add_block(x + done, n - done < BLOCK ? n - done : BLOCK, g);
}

/* At least one; none is NaN, and no zero has a sign. */
double extreme_ordinary(const double *x, uint32_t n, int greatest)
{
    double a = x[0], b = a, c = a, d = a;
    uint32_t i = 0;
    if (greatest) {
        for (; i + 4 <= n; i += 4) {
            a = x[i] > a ? x[i] : a;
            b = x[i + 1] > b ? x[i + 1] : b;
            c = x[i + 2] > c ? x[i + 2] : c;
            d = x[i + 3] > d ? x[i + 3] : d;
        }
        for (; i < n; i++) a = x[i] > a ? x[i] : a;
        a = b > a ? b : a;
        c = d > c ? d : c;
        return c > a ? c : a;
    }
    for (; i + 4 <= n; i += 4) {
        a = x[i] < a ? x[i] : a;
        b = x[i + 1] < b ? x[i + 1] : b;
        c = x[i + 2] < c ? x[i + 2] : c;
        d = x[i + 3] < d ? x[i + 3] : d;
    }
    for (; i < n; i++) a = x[i] < a ? x[i] : a;
    a = b < a ? b : a;
    c = d < c ? d : c;
    return c < a ? c : a;
}
