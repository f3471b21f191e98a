/* Sums, means and extremes of few ordinary DOUBLEs in windows that nest: what most slots are. It does what folds.c does of
   them, with less. */
#include "kernel.h"

static int sums(uint8_t function) { return function == F_SUM || function == F_AVG; }

/* Of slots that differ in window and finish alone, whether they are such, as far as the plan tells. */
int is_usual(const job *j, const slot *s)
{
    int extreme = s->function == F_MIN || s->function == F_MAX;
    return j->nested && s->type.kind == K_DOUBLE && s->filter < 0 && s->part < 0 && (extreme || sums(s->function));
}

static double mean(double total, uint32_t n) { return total / (double)n + 0.0; }

static int put(reading *r, int32_t number, double value)
{
    PyObject *made = PyFloat_FromDouble(value);
    if (made) PyTuple_SET_ITEM(r->values, number, made);
    return made ? 0 : -1;
}

static int put_sums(reading *r, const int32_t *order, uint32_t count, const lane *l, uint32_t high)
{
    halves few = {0, 0, 0};
    for (uint32_t i = 0; i < count; i++) {
        const slot *s = &r->plan->slots[order[i]];
        uint32_t low = bounds_of(r, s)->low, n = high - low;
        if (n > few.n) add_ordinary(l->x.d + (low - l->low), n - few.n, &few);
        double total = few.high + few.low;
        if (put(r, order[i], s->function == F_SUM ? total : mean(total, n)) < 0) return -1;
    }
    return 0;
}

/* An extreme that stays is one object. */
static int put_extremes(reading *r, const int32_t *order, uint32_t count, const lane *l, uint32_t high)
{
    uint32_t met = high;
    double best = 0;
    for (uint32_t i = 0; i < count; i++) {
        const slot *s = &r->plan->slots[order[i]];
        uint32_t low = bounds_of(r, s)->low;
        int greatest = s->function == F_MAX, is_new = i == 0;
        if (low < met) {
            double found = extreme_ordinary(l->x.d + (low - l->low), met - low, greatest);
            if (is_new || (greatest ? found > best : found < best)) {
                best = found;
                is_new = 1;
            }
            met = low;
        }
        if (!is_new) PyTuple_SET_ITEM(r->values, order[i], Py_NewRef(PyTuple_GET_ITEM(r->values, order[i - 1])));
        else if (put(r, order[i], best) < 0) return -1;
    }
    return 0;
}

/* All slots of a job that is_usual; 0 where what is there is not, -1 with a Python error. */
int fold_usual(reading *r, const job *j)
{
    const int32_t *order = r->plan->order + j->start;
    const slot *s = &r->plan->slots[order[0]];
    const lane *l = &r->lanes[s->arg];
    const bounds *widest = bounds_of(r, &r->plan->slots[order[j->count - 1]]);
    if (!l->ordinary || l->nulls || r->buckets || widest->high - widest->low > MOST_ORDINARY) return 0;
    uint32_t empty = 0;
    for (; empty < j->count; empty++) {
        const bounds *b = bounds_of(r, &r->plan->slots[order[empty]]);
        if (b->low < b->high) break;
        PyTuple_SET_ITEM(r->values, order[empty], Py_NewRef(Py_None));
    }
    if (empty == j->count) return 1;
    int done = sums(s->function) ? put_sums(r, order + empty, j->count - empty, l, widest->high)
                                 : put_extremes(r, order + empty, j->count - empty, l, widest->high);
    return done < 0 ? -1 : 1;
}
