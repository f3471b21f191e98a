/* DOUBLEs that are 0.0, or of a magnitude from 2^-14 on and below 2^25: whole numbers of 2^-66, as hundredths are. Their
   sums are exact in plain arithmetic, and four are taken at a time. */
#include "kernel.h"

/* Added and taken away again, it leaves a whole number of 2^-20. */
#define SHIFT (0x1.8p32)

/* A hundredth: its first 22 bits and the next 53. Of an int32 times the first no bit is lost, and the quotient by 100 is never
   so near to the middle of two DOUBLEs that what is lost of the other product counts: it is `k / 100.0` for every k, which all
   were tried. */
#define HUNDREDTH (0x1.47ae1p-7)
#define ITS_REST (0x1.1eb851eb851ecp-29)

#if defined(__x86_64__) && defined(__GLIBC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__)
#define AS_WIDE_AS_IT_GETS __attribute__((target_clones("avx2", "default")))
#else
#define AS_WIDE_AS_IT_GETS
#endif

typedef double four __attribute__((vector_size(32)));
typedef int64_t masks __attribute__((vector_size(32)));
typedef int32_t ints __attribute__((vector_size(16)));

int is_ordinary(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, 8);
    double magnitude = x < 0 ? -x : x;
    return !bits || (magnitude >= 0x1p-14 && magnitude < 0x1p25);
}

AS_WIDE_AS_IT_GETS void unpack_cents(const uint8_t *data, uint32_t n, double *out)
{
    uint32_t i = 0;
    for (; i + 4 <= n; i += 4) {
        ints k;
        memcpy(&k, data + 4 * (size_t)i, sizeof k);
        four x = __builtin_convertvector(k, four);
        x = x * HUNDREDTH + x * ITS_REST;
        memcpy(out + i, &x, sizeof x);
    }
    for (; i < n; i++) {
        double x = read_i32(data + 4 * (size_t)i);
        out[i] = x * HUNDREDTH + x * ITS_REST;
    }
}

/* Exactly: of neither part of at most 256 values has a sum more than 53 bits. */
AS_WIDE_AS_IT_GETS void add_ordinary(const double *x, uint32_t n, halves *sum)
{
    double high = sum->high, low = sum->low;
    uint32_t i = 0;
    if (n >= 4) {
        four above = {0, 0, 0, 0}, below = {0, 0, 0, 0}, also = {0, 0, 0, 0}, beneath = {0, 0, 0, 0}, v, part, w, other;
        for (; i + 8 <= n; i += 8) {
            memcpy(&v, x + i, sizeof v);
            memcpy(&w, x + i + 4, sizeof w);
            part = (v + SHIFT) - SHIFT;
            other = (w + SHIFT) - SHIFT;
            above += part;
            also += other;
            below += v - part;
            beneath += w - other;
        }
        if (i + 4 <= n) {
            memcpy(&v, x + i, sizeof v);
            part = (v + SHIFT) - SHIFT;
            above += part;
            below += v - part;
            i += 4;
        }
        above += also;
        below += beneath;
        high += (above[0] + above[1]) + (above[2] + above[3]);
        low += (below[0] + below[1]) + (below[2] + below[3]);
    }
    for (; i < n; i++) {
        double part = (x[i] + SHIFT) - SHIFT;
        high += part;
        low += x[i] - part;
    }
    *sum = (halves){high, low, sum->n + n};
}

/* Of each pair; as masks, since C has no choice between vectors. */
#define GREATER(p, q) ((four)(((masks)(p) & ((p) > (q))) | ((masks)(q) & ~((p) > (q)))))

/* The greatest where `sign` is 1, and the least, negated, where it is -1. At least one; none is NaN, or a zero with a sign. */
AS_WIDE_AS_IT_GETS static double greatest_ordinary(const double *x, uint32_t n, double sign)
{
    double best = x[0] * sign;
    uint32_t i = 0;
    if (n >= 8) {
        four a, b, v, w;
        memcpy(&a, x, sizeof a);
        memcpy(&b, x + 4, sizeof b);
        a *= sign;
        b *= sign;
        for (i = 8; i + 8 <= n; i += 8) {
            memcpy(&v, x + i, sizeof v);
            memcpy(&w, x + i + 4, sizeof w);
            a = GREATER(v * sign, a);
            b = GREATER(w * sign, b);
        }
        a = GREATER(b, a);
        for (int k = 0; k < 4; k++) best = a[k] > best ? a[k] : best;
    }
    for (; i < n; i++) best = x[i] * sign > best ? x[i] * sign : best;
    return best;
}

double extreme_ordinary(const double *x, uint32_t n, int greatest)
{
    return greatest ? greatest_ordinary(x, n, 1.0) : 0.0 - greatest_ordinary(x, n, -1.0);
}
