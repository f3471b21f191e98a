/* One state at one time, from its bytes to a Reading. */
#include "kernel.h"

/* Where a view is cut at a time: most windows end at one. */
typedef struct { int64_t last; uint32_t end; int known; } cut;

static uint32_t end_of(const view *v, int64_t last, cut *c)
{
    if (!c->known || c->last != last) *c = (cut){last, index_of(v, last + 1), 1};
    return c->end;
}

static bounds bounds_in(const view *v, const window *w, int64_t t, cut *c)
{
    int64_t first = first_time(w, t);
    uint32_t low = first == FOREVER ? 0 : index_of(v, first), high = end_of(v, last_time(w, t), c);
    if (high < low) high = low;
    if (w->skip >= 0) {
        high = (int64_t)high > w->skip ? high - (uint32_t)w->skip : 0;
        low = w->count < 0 || (int64_t)high <= w->count ? 0 : high - (uint32_t)w->count;
    }
    return (bounds){low, high, 0, 0};
}

/* The events of each WHERE, and what each window holds of them. */
static int find_bounds(const plan *p, const state *s, reading *r, view *all)
{
    if (in_order(r->work, s, p->listed, all) < 0) return -1;
    r->views = take(r->work, (size_t)p->n_views + 1, sizeof(view));
    r->bounds = take(r->work, (size_t)p->n_views * p->n_windows + 1, sizeof(bounds));
    bounds *inside = take(r->work, (size_t)p->n_windows + 1, sizeof(bounds));
    if (!r->views || !r->bounds || !inside) return -1;
    memset(inside, 0, p->n_windows * sizeof(bounds));
    for (uint32_t k = 0; k < p->n_windows && r->buckets; k++) {
        int64_t first = first_time(&p->windows[k], r->t);
        uint32_t low = first == FOREVER ? 0 : bucket_of(r->buckets, first);
        uint32_t high = bucket_of(r->buckets, last_time(&p->windows[k], r->t) + 1);
        inside[k] = (bounds){0, 0, low, high < low ? low : high};
    }
    for (uint32_t i = 0; i < p->n_views; i++) {
        view *v = &r->views[i];
        *v = *all;
        cut c = {0, 0, 0};
        if (p->listed && passing(r->work, &p->layout, all, p->wheres[i], v) < 0) return -1;
        for (uint32_t k = 0; k < p->n_windows; k++) {
            bounds *b = &r->bounds[(size_t)i * p->n_windows + k];
            *b = bounds_in(v, &p->windows[k], r->t, &c);
            b->first = inside[k].first;
            b->end = inside[k].end;
        }
    }
    return 0;
}

static void widen(lane *l, const bounds *b)
{
    if (l->low == l->high) {
        l->low = b->low;
        l->high = b->high;
        return;
    }
    if (b->low < l->low) l->low = b->low;
    if (b->high > l->high) l->high = b->high;
}

/* Each lane over all events that any of its slots needs. */
static int fill_lanes(const plan *p, reading *r)
{
    r->lanes = take(r->work, (size_t)p->n_lanes + 1, sizeof(lane));
    if (!r->lanes) return -1;
    memset(r->lanes, 0, p->n_lanes * sizeof(lane));
    for (uint32_t i = 0; i < p->n_jobs; i++) {
        const job *j = &p->jobs[i];
        const slot *s = &p->slots[p->order[j->start]];
        bounds all = {UINT32_MAX, 0, 0, 0};
        for (uint32_t k = j->nested ? j->count - 1 : 0; k < j->count; k++) {
            int32_t own = p->slots[p->order[j->start + k]].window;
            const bounds *b = &r->bounds[(size_t)s->view * p->n_windows + (size_t)own];
            if (b->low < b->high) {
                if (b->low < all.low) all.low = b->low;
                if (b->high > all.high) all.high = b->high;
            }
        }
        if (all.low >= all.high) continue;
        if (s->arg >= 0) widen(&r->lanes[s->arg], &all);
        if (s->other >= 0) widen(&r->lanes[s->other], &all);
        if (s->filter >= 0) widen(&r->lanes[s->filter], &all);
    }
    for (uint32_t i = 0; i < p->n_lanes; i++) {
        const source *from = &p->sources[i];
        if (fill_lane(r->work, &p->layout, &r->views[from->view], from->column, &r->lanes[i]) < 0) return -1;
    }
    return 0;
}

static int is_partial(const state *s, const buckets *b, const window *w, int64_t t)
{
    if (b && !(w->resolution && w->upper) && t < b->before - 1) return 1;
    if (s->head.floor == INT64_MIN) return 0;
    int64_t first = first_time(w, t);
    return first == FOREVER || first < s->head.floor;
}

/* Which slots are partial; their values are then None. NULL with an error. */
static PyObject *partial_of(const plan *p, const state *s, reading *r)
{
    uint32_t found = 0;
    uint8_t *windows = take(r->work, (size_t)p->n_windows + 1, 1);
    if (!windows) return NULL;
    for (uint32_t k = 0; k < p->n_windows; k++) found += windows[k] = (uint8_t)is_partial(s, r->buckets, &p->windows[k], r->t);
    if (!found) return Py_NewRef(p->whole);
    PyObject *partial = PyList_New(p->n_slots);
    if (!partial) return NULL;
    for (uint32_t i = 0; i < p->n_slots; i++) {
        int is = windows[p->slots[i].window];
        PyList_SET_ITEM(partial, i, Py_NewRef(is ? Py_True : Py_False));
        if (!is) continue;
        Py_DECREF(PyTuple_GET_ITEM(r->values, i));
        PyTuple_SET_ITEM(r->values, i, Py_NewRef(Py_None));
    }
    return partial;
}

static PyObject *offsets_of(const state *s)
{
    PyObject *found = PyDict_New();
    for (uint32_t i = 0; found && i < s->n_offsets; i++) {
        PyObject *sequence = PyLong_FromUnsignedLong(s->offsets[i].sequence);
        PyObject *highest = PyLong_FromLongLong(s->offsets[i].highest);
        if (!sequence || !highest || PyDict_SetItem(found, sequence, highest) < 0) Py_CLEAR(found);
        Py_XDECREF(sequence);
        Py_XDECREF(highest);
    }
    return found;
}

static PyObject *newest_of(const view *all, const buckets *b, int64_t t)
{
    uint32_t at = index_of(all, t + 1);
    int64_t newest = at ? time_of(all->s, event_at(all, at - 1)) : INT64_MIN, folded = b ? newest_in(b, t) : INT64_MIN;
    if (folded > newest) newest = folded;
    return newest == INT64_MIN ? Py_NewRef(Py_None) : PyLong_FromLongLong(newest);
}

/* The parts of a Reading but for the values, which are made already. */
static int finish(const plan *p, const state *s, reading *r, const view *all, PyObject **parts)
{
    if (!(parts[PARTIAL] = partial_of(p, s, r)) || !(parts[OFFSETS] = offsets_of(s))) return -1;
    if (!(parts[NEWEST] = newest_of(all, r->buckets, r->t))) return -1;
    parts[EVENTS] = PyLong_FromUnsignedLongLong((uint64_t)s->head.n + s->count);
    return parts[EVENTS] ? 0 : -1;
}

static int fold(const plan *p, const state *s, reading *r, PyObject **parts)
{
    view all;
    buckets found;
    if (s->head.section.size) {
        if (read_buckets(r->work, p, s, &found) < 0) return -1;
        r->buckets = &found;
    }
    if (find_bounds(p, s, r, &all) < 0 || fill_lanes(p, r) < 0) return -1;
    for (uint32_t i = 0; i < p->n_jobs; i++) {
        int done = p->jobs[i].usual ? fold_usual(r, &p->jobs[i]) : 0;
        if (done < 0 || (!done && fold_job(r, &p->jobs[i]) < 0)) return -1;
    }
    for (uint32_t i = 0; i < p->n_slots; i++)
        if (!PyTuple_GET_ITEM(r->values, i)) PyTuple_SET_ITEM(r->values, i, Py_NewRef(Py_None));
    PyObject_GC_UnTrack(r->values);  /* it holds no containers, so that no collection need look at it */
    return finish(p, s, r, &all, parts);
}

/* Fills the parts, which begin as NULL; 0 for corrupt bytes, and -1 with a Python error. */
int read_state(const plan *p, work *w, const uint8_t *bytes, size_t length, int64_t t, PyObject **parts, uint64_t *value_errors)
{
    state s = {0};
    reading r = {.plan = p, .work = w, .t = t};
    w->error[0] = 0;
    clear_work(w);
    int done = read_head(w, &p->layout, bytes, length, &s);
    if (done >= 0) done = read_tail(w, &p->layout, bytes, length, &s);
    if (done >= 0) {
        r.values = parts[VALUES] = PyTuple_New(p->n_slots);
        done = r.values ? fold(p, &s, &r, parts) : -1;
        *value_errors += r.value_errors;
    }
    if (done >= 0) return 1;
    for (int i = 0; i < PARTS; i++) Py_CLEAR(parts[i]);
    return PyErr_Occurred() ? -1 : 0;
}
