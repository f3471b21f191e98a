/* Values as Python knows them, from what was folded. */
#include "kernel.h"

#include <math.h>

static PyObject *none(void) { Py_RETURN_NONE; }

PyObject *wide_long(i128 x)
{
    if (x >= INT64_MIN && x <= INT64_MAX) return PyLong_FromLongLong((long long)x);
    PyObject *high = PyLong_FromLongLong((long long)(x >> 64)), *low = PyLong_FromUnsignedLongLong((uint64_t)x);
    PyObject *bits = PyLong_FromLong(64), *shifted = NULL, *found = NULL;
    if (high && low && bits) shifted = PyNumber_Lshift(high, bits);
    if (shifted) found = PyNumber_Or(shifted, low);
    Py_XDECREF(high);
    Py_XDECREF(low);
    Py_XDECREF(bits);
    Py_XDECREF(shifted);
    return found;
}

/* The sum of whole numbers, however large. */
big sum_of(const acc *a)
{
    big b = {{0}};
    big_add_wide(&b, a->whole, 0);
    big_add_wide(&b, a->carry, 64);
    if (a->total.has_more) big_add(&b, &a->total.more);
    return b;
}

static PyObject *long_of(const acc *a)
{
    big b = sum_of(a);
    PyObject *low = wide_long((i128)((u128)b.limb[1] << 64 | b.limb[0]) & (((i128)1 << 120) - 1));
    PyObject *found = NULL, *rest = NULL, *bits = PyLong_FromLong(120), *shifted = NULL;
    /* 320 bits are two pieces of 120 and one of 80, the last with the sign. */
    i128 middle = (i128)(((u128)b.limb[1] >> 56 | (u128)b.limb[2] << 8 | (u128)b.limb[3] << 72) & (((u128)1 << 120) - 1));
    i128 high = (i128)((u128)b.limb[3] >> 48 | (u128)b.limb[4] << 16 | (b.limb[4] >> 63 ? ~(u128)0 << 80 : 0));
    PyObject *top = wide_long(high), *next = wide_long(middle);
    if (low && bits && top && next) shifted = PyNumber_Lshift(top, bits);
    if (shifted) rest = PyNumber_Add(shifted, next);
    Py_XDECREF(shifted);
    shifted = rest ? PyNumber_Lshift(rest, bits) : NULL;
    if (shifted) found = PyNumber_Add(shifted, low);
    Py_XDECREF(shifted);
    Py_XDECREF(rest);
    Py_XDECREF(low);
    Py_XDECREF(bits);
    Py_XDECREF(top);
    Py_XDECREF(next);
    return found;
}

PyObject *value_of(work *w, const type *t, const lane *l, uint32_t event)
{
    uint32_t i = event - l->low;
    if (l->nulls && l->nulls[i]) return none();
    switch (t->kind) {
    case K_BOOL: return PyBool_FromLong(l->x.b[i]);
    case K_DOUBLE: return PyFloat_FromDouble(l->x.d[i]);
    case K_WIDE: return wide_long(l->x.w[i]);
    case K_INT: return PyLong_FromLongLong(l->x.i[i]);
    }
    PyObject *text = PyUnicode_DecodeUTF8((const char *)l->x.s[i].at, l->x.s[i].size, NULL);
    if (text || !PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) return text;
    PyErr_Clear();
    corrupt(w, "a VARCHAR of a state is no UTF-8");
    return NULL;
}

static PyObject *value_error(reading *r)
{
    r->value_errors++;
    return none();
}

/* The sum of DOUBLEs where some are not on the grid: NULL for too large, else as IEEE adds NaN and infinities. */
static double special(int flags)
{
    if (flags & IS_NAN || (flags & PLUS_INF && flags & MINUS_INF)) return NAN;
    return flags & PLUS_INF ? INFINITY : -INFINITY;
}

void to_grid(acc *a)
{
    grid_add(&a->total, a->few.high);
    grid_add(&a->total, a->few.low);
    a->few = (halves){0, 0, 0};
    a->on_grid = 1;
}

/* The total, rounded once. */
static double total_of(acc *a)
{
    if (!a->on_grid && !a->total.has_more) return a->few.high + a->few.low;
    if (a->few.n) to_grid(a);
    return grid_double(&a->total);
}

static PyObject *sum_of_doubles(reading *r, const slot *s, acc *a)
{
    if (a->flags & TOO_LARGE) return value_error(r);
    if (!a->has_sum) a->sum = a->flags ? special(a->flags) : total_of(a);
    a->has_sum = 1;
    double total = a->sum;
    return PyFloat_FromDouble(s->function == F_SUM ? total : total / (double)a->n + 0.0);
}

/* 10^38, above every DECIMAL. */
static i128 decimal_limit(void)
{
    const i128 half = (i128)10000000000000000000u;
    return half * half;
}

static PyObject *sum_of_integers(reading *r, const slot *s, const acc *a)
{
    big b = sum_of(a);
    uint64_t sign = b.limb[1] >> 63 ? UINT64_MAX : 0;
    int fits = b.limb[2] == sign && b.limb[3] == sign && b.limb[4] == sign;
    i128 total = (i128)((u128)b.limb[1] << 64 | b.limb[0]);
    i128 limit = s->type.decimal ? decimal_limit() - 1 : INT64_MAX;
    i128 least = s->type.decimal ? -limit : INT64_MIN;
    return fits && total >= least && total <= limit ? wide_long(total) : value_error(r);
}

/* One division that is rounded once, by the power of ten behind a DECIMAL's point, and one by how many there are. */
static PyObject *mean_of_integers(const slot *s, const acc *a)
{
    static const double TENS[] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
                                  1e17, 1e18};
    const i128 exact = (i128)1 << 53;
    int scale = s->type.decimal ? s->type.scale : 0;
    if (!a->carry && !a->total.has_more && a->whole >= -exact && a->whole <= exact && scale <= 18)
        return PyFloat_FromDouble((double)(int64_t)a->whole / TENS[scale] / (double)a->n);
    PyObject *total = long_of(a), *ten = PyLong_FromLong(10), *digits = PyLong_FromLong(scale), *unit = NULL, *ratio = NULL;
    if (total && ten && digits) unit = PyNumber_Power(ten, digits, Py_None);
    if (unit) ratio = PyNumber_TrueDivide(total, unit);
    double found = ratio ? PyFloat_AsDouble(ratio) / (double)a->n : 0;
    Py_XDECREF(total);
    Py_XDECREF(ten);
    Py_XDECREF(digits);
    Py_XDECREF(unit);
    if (!ratio) return NULL;
    Py_DECREF(ratio);
    return PyFloat_FromDouble(found);
}

static PyObject *spread_of(reading *r, const slot *s, const acc *a)
{
    int sample = s->function == F_VAR_SAMP || s->function == F_STDDEV_SAMP;
    int root = s->function == F_STDDEV_POP || s->function == F_STDDEV_SAMP;
    if (a->n < (sample ? 2 : 1)) return none();
    if (a->flags & TOO_LARGE) return value_error(r);
    double found = a->flags ? NAN : a->n == 1 ? 0.0 : variance(a->n, &a->total, &a->squares, sample);
    return PyFloat_FromDouble(root ? sqrt(found) : found);
}

/* A value of the slot; NULL with an error, Python's or the work's. */
PyObject *finish_slot(reading *r, const slot *s, acc *a)
{
    switch (s->function) {
    case F_COUNT: case F_DISTINCT: return PyLong_FromLongLong(a->n);
    case F_SUM:
        if (!a->n) return none();
        return s->type.kind == K_DOUBLE ? sum_of_doubles(r, s, a) : sum_of_integers(r, s, a);
    case F_AVG:
        if (!a->n) return none();
        return s->type.kind == K_DOUBLE ? sum_of_doubles(r, s, a) : mean_of_integers(s, a);
    case F_VAR_POP: case F_VAR_SAMP: case F_STDDEV_POP: case F_STDDEV_SAMP: return spread_of(r, s, a);
    case F_AND: case F_OR: return a->held < 0 ? none() : PyBool_FromLong(a->held);
    case F_MIN: case F_MAX: case F_MIN_BY: case F_MAX_BY: case F_FIRST: case F_LAST:
        if (a->has_value) return PyFloat_FromDouble(a->value);
        if (takes_entry(r, s, a)) return value_of(r->work, &s->type, &r->buckets->parts[s->part].x, (uint32_t)a->entry);
        return a->best < 0 ? none() : value_of(r->work, &s->type, &r->lanes[s->arg], (uint32_t)a->best);
    }
    return none();
}
