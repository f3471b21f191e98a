/* Sums and variances that do not depend on order: `exact.py`, step by step. See docs/exact-sums.md. */
#include "kernel.h"

#include <math.h>

#define LIMIT 9007199254740992.0
#define GRID_BITS 72
#define DIGIT_BITS 31
#define SUM_DIGITS 5
#define SQUARE_DIGITS 7

int flag_of(double x)
{
    if (x != x) return IS_NAN;
    if (isinf(x)) return x > 0 ? PLUS_INF : MINUS_INF;
    return fabs(x) >= LIMIT ? TOO_LARGE : 0;
}

void big_add(big *a, const big *b)
{
    u128 carry = 0;
    for (int i = 0; i < LIMBS; i++) {
        carry += (u128)a->limb[i] + b->limb[i];
        a->limb[i] = (uint64_t)carry;
        carry >>= 64;
    }
}

/* x * 2^shift; shift is at most 255. */
void big_add_wide(big *a, i128 x, unsigned shift)
{
    big b;
    unsigned limb = shift / 64, bits = shift % 64;
    uint64_t sign = x < 0 ? UINT64_MAX : 0;
    uint64_t parts[3] = {(uint64_t)x, (uint64_t)((u128)x >> 64), sign};
    for (unsigned i = 0; i < LIMBS; i++) {
        if (i < limb) {
            b.limb[i] = 0;
            continue;
        }
        unsigned k = i - limb;
        uint64_t here = k < 3 ? parts[k] : sign, below = k ? (k < 4 ? parts[k - 1] : sign) : 0;
        b.limb[i] = bits ? here << bits | below >> (64 - bits) : here;
    }
    big_add(a, &b);
}

/* A whole number of units that is a DOUBLE, its fraction cut off. */
void big_add_double(big *a, double units)
{
    uint64_t bits;
    memcpy(&bits, &units, 8);
    int exponent = (int)(bits >> 52 & 0x7ff) - 1075;
    int64_t mantissa = (int64_t)((bits & 0xfffffffffffffu) | 0x10000000000000u);
    if (exponent < -52) return;
    if (exponent < 0) {
        mantissa >>= -exponent;
        exponent = 0;
    }
    big_add_wide(a, bits >> 63 ? -(i128)mantissa : mantissa, (unsigned)exponent);
}

typedef struct { double high, low; } pair;

static pair two_product(double a, double b)
{
    const double split = 0x1p27 + 1;
    double p = a * b;
    double a1 = a * split;
    a1 = a1 - (a1 - a);
    double a2 = a - a1;
    double b1 = b * split;
    b1 = b1 - (b1 - b);
    double b2 = b - b1;
    return (pair){p, ((a1 * b1 - p) + a1 * b2 + a2 * b1) + a2 * b2};
}

static pair two_sum(double a, double b)
{
    double s = a + b, t = s - a;
    return (pair){s, (a - (s - t)) + (b - t)};
}

static pair fast_two_sum(double a, double b)
{
    double s = a + b;
    return (pair){s, b - (s - a)};
}

/* A square, as its two parts, on the grid. */
void big_add_square(big *a, double x)
{
    pair p = two_product(x, x);
    big_add_double(a, p.high * 0x1p72);
    big_add_double(a, p.low * 0x1p72);
}

static int is_negative(const big *a)
{
    return a->limb[LIMBS - 1] >> 63 != 0;
}

static big negated(const big *a)
{
    big b;
    u128 carry = 1;
    for (int i = 0; i < LIMBS; i++) {
        carry += ~a->limb[i];
        b.limb[i] = (uint64_t)carry;
        carry >>= 64;
    }
    return b;
}

/* The nearest DOUBLE, half to even: of the 64 leading bits, the last of which is set where anything follows. */
double big_double(const big *a)
{
    big m = is_negative(a) ? negated(a) : *a;
    int top = LIMBS - 1;
    while (top > 0 && !m.limb[top]) top--;
    uint64_t leading = m.limb[top];
    if (!leading) return 0.0;
    int shift = __builtin_clzll(leading);
    if (top > 0) {
        if (shift) leading = leading << shift | m.limb[top - 1] >> (64 - shift);
        uint64_t rest = shift ? m.limb[top - 1] << shift : m.limb[top - 1];
        for (int i = top - 2; i >= 0; i--) rest |= m.limb[i];
        leading |= rest != 0;
    } else shift = 0;
    double found = ldexp((double)leading, 64 * top - shift);
    return is_negative(a) ? -found : found;
}

static big grid_big(const grid *g)
{
    big b = {{0}};
    big_add_wide(&b, g->high, 62);
    big_add_wide(&b, g->low, 0);
    if (g->has_more) big_add(&b, &g->more);
    return b;
}

double grid_double(const grid *g)
{
    const i128 most = (i128)1 << 63;
    if (!g->has_more && g->high < most && g->high > -most && g->low < most << 61 && g->low > -(most << 61))
        return (double)(g->high * ((i128)1 << 62) + g->low) * 0x1p-72;
    big b = grid_big(g);
    return big_double(&b) * 0x1p-72;
}

/* Floor digits in base 2^31, the lowest first, of which the last carries the sign; as DOUBLEs. */
static void digits(big x, int count, double *out)
{
    for (int k = 0; k < count - 1; k++) {
        out[k] = (double)(x.limb[0] & (((uint64_t)1 << DIGIT_BITS) - 1));
        for (int i = 0; i < LIMBS; i++) {
            uint64_t above = i + 1 < LIMBS ? x.limb[i + 1] : is_negative(&x) ? UINT64_MAX : 0;
            x.limb[i] = x.limb[i] >> DIGIT_BITS | above << (64 - DIGIT_BITS);
        }
    }
    out[count - 1] = big_double(&x);
}

static pair double_double(const double *parts, int count)
{
    double high = parts[count - 1] * ldexp(1.0, DIGIT_BITS * (count - 1) - GRID_BITS), low = 0;
    for (int k = count - 2; k >= 0; k--) {
        pair p = two_sum(high, parts[k] * ldexp(1.0, DIGIT_BITS * k - GRID_BITS));
        high = p.high;
        low = k == count - 2 ? p.low : low + p.low;
    }
    return fast_two_sum(high, low);
}

/* The variance of at least two values, all of them on the grid. */
double variance(int64_t count, const grid *sum, const big *squares, int sample)
{
    double parts[SQUARE_DIGITS], n = (double)count;
    digits(grid_big(sum), SUM_DIGITS, parts);
    pair s = double_double(parts, SUM_DIGITS);
    digits(*squares, SQUARE_DIGITS, parts);
    pair q = double_double(parts, SQUARE_DIGITS);
    pair nq = two_product(n, q.high);
    pair a = fast_two_sum(nq.high, nq.low + n * q.low);
    pair ss = two_product(s.high, s.high);
    pair b = fast_two_sum(ss.high, ss.low + s.high * s.low * 2.0);
    pair d = two_sum(a.high, b.high * -1.0);
    pair e = fast_two_sum(d.high, d.low + (a.low - b.low));
    double m = e.high + e.low, pairs = n * (n - 1.0);
    double ratio = m / (sample ? pairs : n * n);
    double above = m <= a.high * 0x1p-96 ? 0.0 : ratio;
    return m / pairs <= 0x1p-70 ? 0.0 : above;
}
