/* Aggregates over ranges of events. Slots that differ in their window alone are one job: each event is met once, from the
   newest window's events back to the oldest's. So a fold goes backward, and of equals the later met, earlier one wins. */
#include "kernel.h"

#include <math.h>

typedef struct { const lane *x, *y, *filter; } lanes;

static inline int is_null(const lane *l, uint32_t i) { return l->nulls && l->nulls[i - l->low]; }

static inline int passes(const lane *filter, uint32_t i)
{
    return !filter || (!is_null(filter, i) && filter->x.b[i - filter->low]);
}

static inline int counts(const lanes *l, uint32_t i) { return passes(l->filter, i) && !is_null(l->x, i); }

static int64_t compare_text(span a, span b)
{
    uint32_t size = a.size < b.size ? a.size : b.size;
    int found = size ? memcmp(a.at, b.at, size) : 0;
    return found ? found : (int64_t)a.size - b.size;
}

/* a < b, where NaN equals itself and is greater than all; text goes by code point, as its bytes do. */
int is_less(const lane *a, uint32_t i, const lane *b, uint32_t j)
{
    i -= a->low;
    j -= b->low;
    switch (a->kind) {
    case K_BOOL: return a->x.b[i] < b->x.b[j];
    case K_DOUBLE: return a->x.d[i] < b->x.d[j] || (b->x.d[j] != b->x.d[j] && a->x.d[i] == a->x.d[i]);
    case K_WIDE: return a->x.w[i] < b->x.w[j];
    case K_TEXT: return compare_text(a->x.s[i], b->x.s[j]) < 0;
    default: return a->x.i[i] < b->x.i[j];
    }
}

static void count(const lanes *l, acc *a, uint32_t low, uint32_t high)
{
    if (!l->filter && (!l->x || !l->x->nulls)) {
        a->n += high - low;
        return;
    }
    for (uint32_t i = low; i < high; i++) a->n += passes(l->filter, i) && (!l->x || !is_null(l->x, i));
}

static void sum_ints(const lanes *l, acc *a, uint32_t low, uint32_t high)
{
    const int64_t *x = l->x->x.i;
    uint32_t from = l->x->low;
    if (!l->filter && !l->x->nulls) {
        for (uint32_t i = low; i < high; i++) a->whole += x[i - from];
        a->n += high - low;
        return;
    }
    for (uint32_t i = low; i < high; i++)
        if (counts(l, i)) {
            a->whole += x[i - from];
            a->n++;
        }
}

/* Of 128 bits each: the low 64 bits apart from the others. */
static void sum_wide(const lanes *l, acc *a, uint32_t low, uint32_t high)
{
    for (uint32_t i = low; i < high; i++)
        if (counts(l, i)) {
            i128 x = l->x->x.w[i - l->x->low];
            a->whole += (uint64_t)x;
            a->carry += x >> 64;
            a->n++;
        }
}

static void sum_doubles(const lanes *l, acc *a, uint32_t low, uint32_t high)
{
    const double *x = l->x->x.d;
    int some = l->filter || l->x->nulls;
    uint32_t from = l->x->low;
    if (!some && l->x->ordinary) {
        a->n += high - low;
        while (low < high) {
            uint32_t size = MOST_ORDINARY - a->few.n < high - low ? MOST_ORDINARY - a->few.n : high - low;
            add_ordinary(x + (low - from), size, &a->few);
            low += size;
            if (low < high) to_grid(a);
        }
        return;
    }
    int64_t n = a->n;
    grid g = {.high = a->total.high, .low = a->total.low};
    a->on_grid = 1;
    for (uint32_t i = low; i < high; i++) {
        if (some && !counts(l, i)) continue;
        double value = x[i - from];
        n++;
        if (LIKELY(fabs(value) < 0x1p53)) grid_add(&g, value);
        else a->flags |= flag_of(value);
    }
    a->n = n;
    a->total.high = g.high;
    a->total.low = g.low;
}

static void sum_squares(const lanes *l, acc *a, uint32_t low, uint32_t high)
{
    for (uint32_t i = low; i < high; i++) {
        if (!counts(l, i)) continue;
        double value = l->x->x.d[i - l->x->low];
        a->n++;
        if (fabs(value) < 0x1p53) {
            grid_add(&a->total, value);
            big_add_square(&a->squares, value);
        } else a->flags |= flag_of(value);
    }
}

static void quantify(const lanes *l, acc *a, uint32_t low, uint32_t high, int all)
{
    for (uint32_t i = low; i < high; i++) {
        if (!counts(l, i)) continue;
        int value = l->x->x.b[i - l->x->low];
        a->held = a->held < 0 ? value : all ? a->held && value : a->held || value;
    }
}

/* As `extreme` below, of DOUBLEs without NULLs or filter; NaN is greater than all. */
static void extreme_double(const lane *l, acc *a, uint32_t low, uint32_t high, int greatest)
{
    const double *x = l->x.d;
    int64_t at = a->best;
    uint32_t i = high;
    if (at < 0 && i > low) at = --i;
    double best = at < 0 ? 0 : x[at - l->low];
    while (i-- > low) {
        double value = x[i - l->low];
        /* Of two NaNs, or of a NaN and a number, a comparison says nothing. */
        if (greatest ? value < best : value > best) continue;
        if (greatest ? best != best && value == value : value != value && best == best) continue;
        best = value;
        at = i;
    }
    a->best = at;
}

/* The least or greatest of a lane: x itself, or y of which x is then taken. */
static void extreme(const reading *r, const lanes *l, acc *a, uint32_t low, uint32_t high, int greatest)
{
    const lane *key = l->y ? l->y : l->x;
    if (key->ordinary && !key->nulls && !l->filter && !l->y && !r->buckets) {
        double value = extreme_ordinary(key->x.d + (low - key->low), high - low, greatest);
        if (!a->has_value || (greatest ? value > a->value : value < a->value)) a->value = value;
        a->has_value = 1;
        return;
    }
    if (key->kind == K_DOUBLE && !key->nulls && !l->filter) {
        extreme_double(key, a, low, high, greatest);
        return;
    }
    for (uint32_t i = high; i-- > low;) {
        if (!passes(l->filter, i) || is_null(key, i)) continue;
        if (a->best >= 0) {
            uint32_t best = (uint32_t)a->best;
            if (greatest ? is_less(key, i, key, best) : is_less(key, best, key, i)) continue;
        }
        a->best = i;
    }
}

static void end_of(const lanes *l, acc *a, uint32_t low, uint32_t high, int last)
{
    if (last) {
        for (uint32_t i = high; a->best < 0 && i-- > low;)
            if (passes(l->filter, i)) a->best = i;
        return;
    }
    for (uint32_t i = low; i < high; i++)
        if (passes(l->filter, i)) {
            a->best = i;
            return;
        }
}

static int distinct(reading *r, const lanes *l, acc *a, uint32_t low, uint32_t high)
{
    if (!a->has_table) {
        a->met = (table){.seed = r->plan->seed};
        a->has_table = 1;
    }
    for (uint32_t i = low; i < high; i++) {
        if (!counts(l, i)) continue;
        int is_new = add_distinct(r->work, &a->met, l->x, i);
        if (is_new < 0) return -1;
        a->n += is_new;
    }
    return 0;
}

/* Events that stand before all that were met. */
static int update(reading *r, const slot *s, const lanes *l, acc *a, uint32_t low, uint32_t high)
{
    switch (s->function) {
    case F_COUNT: count(l, a, low, high); break;
    case F_SUM: case F_AVG:
        if (s->type.kind == K_DOUBLE) sum_doubles(l, a, low, high);
        else if (s->type.kind == K_WIDE) sum_wide(l, a, low, high);
        else sum_ints(l, a, low, high);
        break;
    case F_VAR_POP: case F_VAR_SAMP: case F_STDDEV_POP: case F_STDDEV_SAMP: sum_squares(l, a, low, high); break;
    case F_AND: quantify(l, a, low, high, 1); break;
    case F_OR: quantify(l, a, low, high, 0); break;
    case F_MIN: case F_MIN_BY: extreme(r, l, a, low, high, 0); break;
    case F_MAX: case F_MAX_BY: extreme(r, l, a, low, high, 1); break;
    case F_DISTINCT: return distinct(r, l, a, low, high);
    case F_FIRST: end_of(l, a, low, high, 0); break;
    case F_LAST: end_of(l, a, low, high, 1); break;
    }
    return 0;
}

/* Starts anew. Only what the function looks at is made ready: the large numbers take longer than most folds. */
static void start(const reading *r, const slot *s, acc *a)
{
    a->n = 0;
    a->whole = a->carry = a->total.high = a->total.low = 0;
    a->few = (halves){0, 0, 0};
    a->total.has_more = a->on_grid = a->flags = a->has_value = a->has_table = a->has_sum = 0;
    a->best = a->entry = a->held = -1;
    if (r->buckets) memset(&a->total.more, 0, sizeof a->total.more);
    if (s->function >= F_VAR_POP && s->function <= F_STDDEV_SAMP) memset(&a->squares, 0, sizeof a->squares);
}

#define FEW 32

static int is_before(const bounds *a, const bounds *b)
{
    if (a->high != b->high) return a->high < b->high;
    if (a->end != b->end) return a->end < b->end;
    return a->low != b->low ? a->low > b->low : a->first > b->first;
}

/* The slots of a job in order of their windows' ends, and of one end from the shortest to the longest: as they are, where
   they nest. */
static const int32_t *sorted(reading *r, const job *j, int32_t *few)
{
    const int32_t *order = r->plan->order + j->start;
    if (j->nested) return order;
    int32_t *found = j->count <= FEW ? few : take(r->work, j->count, sizeof(int32_t));
    if (!found) return NULL;
    for (uint32_t i = 0; i < j->count; i++) {
        uint32_t at = i;
        const bounds *own = bounds_of(r, &r->plan->slots[order[i]]);
        for (; at > 0 && is_before(own, bounds_of(r, &r->plan->slots[found[at - 1]])); at--) found[at] = found[at - 1];
        found[at] = order[i];
    }
    return found;
}

static int set_value(reading *r, int32_t number, acc *a)
{
    PyObject *value = finish_slot(r, &r->plan->slots[number], a);
    if (!value) return -1;
    PyTuple_SET_ITEM(r->values, number, value);
    return 0;
}

/* Brings the fold from what was met to a wider window. */
static int widen(reading *r, const slot *s, const lanes *l, acc *a, const bounds *met, const bounds *wanted)
{
    if (wanted->low < met->low || wanted->first < met->first) a->has_sum = 0;
    if (wanted->low < met->low && update(r, s, l, a, wanted->low, met->low) < 0) return -1;
    if (r->buckets && s->part >= 0 && wanted->first < met->first)
        fold_entries(s, &r->plan->parts[s->part], &r->buckets->parts[s->part], a, wanted->first, met->first);
    return 0;
}

/* All slots of a job. */
int fold_job(reading *r, const job *j)
{
    int32_t few[FEW];
    const int32_t *order = sorted(r, j, few);
    if (!order) return -1;
    const slot *s = &r->plan->slots[order[0]];
    lanes l = {s->arg < 0 ? NULL : &r->lanes[s->arg], s->other < 0 ? NULL : &r->lanes[s->other],
               s->filter < 0 ? NULL : &r->lanes[s->filter]};
    acc a;
    bounds met = {0, 0, 0, 0};
    for (uint32_t i = 0; i < j->count; i++) {
        const bounds *wanted = bounds_of(r, &r->plan->slots[order[i]]);
        if (i == 0 || wanted->high != met.high || wanted->end != met.end) {
            start(r, s, &a);
            met = (bounds){wanted->high, wanted->high, wanted->end, wanted->end};
        }
        if (widen(r, s, &l, &a, &met, wanted) < 0 || set_value(r, order[i], &a) < 0) return -1;
        met = *wanted;
    }
    return 0;
}
