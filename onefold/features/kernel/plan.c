/* A plan from what `native.py` says of a group: numbers and tuples, every one checked, so that no index goes astray. */
#include "kernel.h"

#define MOST 100000

static int wrong(const char *what)
{
    PyErr_Format(PyExc_ValueError, "the specification of a native plan has wrong %s", what);
    return -1;
}

static int is_between(int64_t x, int64_t least, int64_t end) { return x >= least && x < end; }

/* A list of tuples: room for as many of `size` bytes. */
static void *room(PyObject *list, uint32_t *count, size_t size)
{
    if (!PyList_Check(list) || PyList_GET_SIZE(list) > MOST) {
        wrong("lists");
        return NULL;
    }
    *count = (uint32_t)PyList_GET_SIZE(list);
    void *found = PyMem_Calloc((size_t)*count + 1, size);
    if (!found) PyErr_NoMemory();
    return found;
}

static int type_from(PyObject *tuple, type *t)
{
    return PyArg_ParseTuple(tuple, "bbbbb", &t->kind, &t->decimal, &t->scale, &t->item, &t->item_decimal) ? 0 : -1;
}

static uint32_t bytes_in_record(uint8_t kind)
{
    return kind == K_TEXT || kind == K_LIST ? 0 : kind == K_BOOL ? 1 : kind == K_WIDE ? 16 : 8;
}

static int layout_from(layout *l, PyObject *types)
{
    l->types = room(types, &l->width, sizeof(type));
    l->places = PyMem_Calloc((size_t)l->width + 1, sizeof(uint32_t));
    if (!l->types) return -1;
    if (!l->places) return PyErr_NoMemory() ? 0 : -1;
    l->null_bytes = (l->width + 7) / 8;
    uint32_t at = l->null_bytes;
    for (uint32_t i = 0; i < l->width; i++) {
        if (type_from(PyList_GET_ITEM(types, i), &l->types[i]) < 0) return -1;
        if (l->types[i].kind > K_LIST || l->types[i].item >= K_LIST || l->types[i].scale > 38) return wrong("types");
        uint32_t size = bytes_in_record(l->types[i].kind);
        l->places[i] = size ? at : l->varying++;
        at += size;
    }
    l->fixed = 29 + at;
    return 0;
}

static int windows_from(plan *p, PyObject *list)
{
    p->windows = room(list, &p->n_windows, sizeof(window));
    if (!p->windows) return -1;
    for (uint32_t i = 0; i < p->n_windows; i++) {
        window *w = &p->windows[i];
        int lifetime;
        long long lower, upper, resolution, skip, count;
        if (!PyArg_ParseTuple(PyList_GET_ITEM(list, i), "pLLLLL", &lifetime, &lower, &upper, &resolution, &skip, &count))
            return -1;
        if (!is_between(lower, 0, MOST_TIME) || !is_between(upper, 0, MOST_TIME) || !is_between(resolution, 0, MOST_TIME))
            return wrong("windows");
        *w = (window){lifetime ? FOREVER : lower, upper, resolution, skip, count};
    }
    return 0;
}

static int views_from(plan *p, PyObject *list)
{
    p->wheres = room(list, &p->n_views, sizeof(int32_t));
    if (!p->wheres) return -1;
    for (uint32_t i = 0; i < p->n_views; i++) {
        long column = PyLong_AsLong(PyList_GET_ITEM(list, i));
        if (column == -1 && PyErr_Occurred()) return -1;
        if (!is_between(column, -1, p->layout.width) || (column >= 0 && p->layout.types[column].kind != K_BOOL))
            return wrong("views");
        p->wheres[i] = (int32_t)column;
    }
    return 0;
}

static int lanes_from(plan *p, PyObject *list)
{
    p->sources = room(list, &p->n_lanes, sizeof(source));
    if (!p->sources) return -1;
    for (uint32_t i = 0; i < p->n_lanes; i++) {
        source *s = &p->sources[i];
        if (!PyArg_ParseTuple(PyList_GET_ITEM(list, i), "ii", &s->view, &s->column)) return -1;
        if (!is_between(s->view, 0, p->n_views) || !is_between(s->column, -1, p->layout.width)) return wrong("lanes");
    }
    return 0;
}

static uint8_t kind_of(const plan *p, int32_t lane)
{
    return p->sources[lane].column < 0 ? K_INT : p->layout.types[p->sources[lane].column].kind;
}

/* Whether a slot may read these lanes as what it takes them for. */
static int is_sound(const plan *p, const slot *s)
{
    int32_t lanes = (int32_t)p->n_lanes;
    if (!is_between(s->arg, -1, lanes) || !is_between(s->other, -1, lanes) || !is_between(s->filter, -1, lanes)) return 0;
    if (!is_between(s->view, 0, p->n_views) || !is_between(s->window, 0, p->n_windows) || s->function > F_LAST) return 0;
    if (s->filter >= 0 && kind_of(p, s->filter) != K_BOOL) return 0;
    if (s->function == F_NONE || s->function == F_COUNT) return 1;
    uint8_t kind = s->arg < 0 ? K_LIST : kind_of(p, s->arg);
    if (kind != s->type.kind || kind == K_LIST) return 0;
    int spread = s->function >= F_VAR_POP && s->function <= F_STDDEV_SAMP;
    int sum = s->function == F_SUM || s->function == F_AVG;
    if (spread && kind != K_DOUBLE) return 0;
    if (sum && (kind == K_TEXT || kind == K_BOOL)) return 0;
    if ((s->function == F_AND || s->function == F_OR) && kind != K_BOOL) return 0;
    int by = s->function == F_MIN_BY || s->function == F_MAX_BY;
    return by == (s->other >= 0) && !(by && kind_of(p, s->other) == K_LIST);
}

static int parts_from(plan *p, PyObject *list)
{
    p->parts = room(list, &p->n_parts, sizeof(part));
    if (!p->parts) return -1;
    for (uint32_t i = 0; i < p->n_parts; i++) {
        part *part = &p->parts[i];
        PyObject *x, *y;
        if (!PyArg_ParseTuple(PyList_GET_ITEM(list, i), "bO!O!", &part->kind, &PyTuple_Type, &x, &PyTuple_Type, &y)) return -1;
        if (type_from(x, &part->x) < 0 || type_from(y, &part->y) < 0) return -1;
        if (part->kind > P_BY || part->x.kind > K_LIST || part->y.kind > K_LIST) return wrong("parts");
    }
    return 0;
}

/* Whether a slot's part has what its function takes from it. */
static int suits(const plan *p, const slot *s)
{
    static const int8_t KINDS[] = {
        [F_NONE] = -1, [F_COUNT] = P_COUNT, [F_VAR_POP] = P_SQUARES, [F_VAR_SAMP] = P_SQUARES, [F_STDDEV_POP] = P_SQUARES,
        [F_STDDEV_SAMP] = P_SQUARES, [F_AND] = P_PLAIN, [F_OR] = P_PLAIN, [F_MIN] = P_PLAIN, [F_MAX] = P_PLAIN,
        [F_DISTINCT] = -1, [F_MIN_BY] = P_BY, [F_MAX_BY] = P_BY, [F_FIRST] = P_END, [F_LAST] = P_END,
    };
    int kind = KINDS[s->function];
    const part *part = &p->parts[s->part];
    if (s->function == F_SUM || s->function == F_AVG) kind = s->type.kind == K_DOUBLE ? P_DOUBLES : P_SUM;
    if (part->kind != kind) return 0;
    if (kind == P_BY && part->y.kind != kind_of(p, s->other)) return 0;
    return kind < P_PLAIN || part->x.kind == s->type.kind;
}

static int slots_from(plan *p, PyObject *list)
{
    p->slots = room(list, &p->n_slots, sizeof(slot));
    if (!p->slots) return -1;
    for (uint32_t i = 0; i < p->n_slots; i++) {
        slot *s = &p->slots[i];
        PyObject *type;
        if (!PyArg_ParseTuple(PyList_GET_ITEM(list, i), "bO!iiiiiii", &s->function, &PyTuple_Type, &type, &s->view,
                              &s->window, &s->arg, &s->other, &s->filter, &s->part, &s->next))
            return -1;
        if (type_from(type, &s->type) < 0) return -1;
        if (!is_sound(p, s) || s->type.scale > 38) return wrong("slots");
        if (s->function != F_NONE && p->resolution ? !is_between(s->part, 0, p->n_parts) || !suits(p, s) : s->part != -1)
            return wrong("parts of slots");
        if (s->part >= 0) p->parts[s->part].wanted = 1;
        if (s->next != -1 && !is_between(s->next, (int64_t)i + 1, p->n_slots)) return wrong("jobs");
    }
    return 0;
}

/* Whether a window ends where another does, and holds it. */
static int holds(const window *wide, const window *narrow)
{
    if (wide->skip >= 0 || narrow->skip >= 0 || wide->upper != narrow->upper || wide->resolution != narrow->resolution) return 0;
    return wide->lower == FOREVER || (narrow->lower != FOREVER && wide->lower >= narrow->lower);
}

static int is_alike(const slot *a, const slot *b)
{
    return a->view == b->view && a->arg == b->arg && a->other == b->other && a->filter == b->filter && a->part == b->part;
}

/* Puts a slot among those of its job: behind all whose windows its own one holds. */
static void put_in_order(plan *p, job *j, int32_t number)
{
    int32_t *order = p->order + j->start;
    uint32_t at = j->count++;
    const window *own = &p->windows[p->slots[number].window];
    for (; at > 0 && !holds(own, &p->windows[p->slots[order[at - 1]].window]); at--) order[at] = order[at - 1];
    order[at] = number;
}

static int jobs_from(plan *p, PyObject *list)
{
    p->jobs = room(list, &p->n_jobs, sizeof(job));
    p->order = PyMem_Calloc((size_t)p->n_slots + 1, sizeof(int32_t));
    if (!p->jobs) return -1;
    if (!p->order) return PyErr_NoMemory() ? 0 : -1;
    uint32_t used = 0;
    for (uint32_t i = 0; i < p->n_jobs; i++) {
        long first = PyLong_AsLong(PyList_GET_ITEM(list, i));
        if (first == -1 && PyErr_Occurred()) return -1;
        if (!is_between(first, 0, p->n_slots)) return wrong("jobs");
        job *found = &p->jobs[i];
        *found = (job){used, 0, 1, 0};
        for (int32_t k = (int32_t)first; k >= 0; k = p->slots[k].next) {
            if (used++ >= p->n_slots || !is_alike(&p->slots[first], &p->slots[k])) return wrong("jobs");
            put_in_order(p, found, k);
        }
        for (uint32_t k = 1; k < found->count; k++) {
            const int32_t *order = p->order + found->start;
            found->nested &= holds(&p->windows[p->slots[order[k]].window], &p->windows[p->slots[order[k - 1]].window]);
        }
        found->nested &= p->windows[p->slots[first].window].skip < 0;
        found->usual = is_usual(found, &p->slots[first]);
    }
    return 0;
}

int plan_from(plan *p, PyObject *specification)
{
    PyObject *types, *windows, *views, *lanes, *slots, *jobs, *parts;
    long long resolution;
    unsigned long long seed;
    if (!PyArg_ParseTuple(specification, "O!pO!O!O!O!O!LO!pKO!O!O", &PyList_Type, &types, &p->layout.has_ids, &PyList_Type,
                          &windows, &PyList_Type, &views, &PyList_Type, &lanes, &PyList_Type, &slots, &PyList_Type, &jobs,
                          &resolution, &PyList_Type, &parts, &p->listed, &seed, &PyTuple_Type, &p->empty, &PyList_Type,
                          &p->whole, &p->error)) {
        p->empty = p->whole = p->error = NULL;
        return -1;
    }
    Py_INCREF(p->empty);
    Py_INCREF(p->whole);
    Py_INCREF(p->error);
    p->resolution = resolution;
    p->seed = seed;
    if (layout_from(&p->layout, types) < 0 || windows_from(p, windows) < 0 || views_from(p, views) < 0) return -1;
    if (!is_between(resolution, 0, MOST_TIME) || parts_from(p, parts) < 0) return PyErr_Occurred() ? -1 : wrong("buckets");
    if (lanes_from(p, lanes) < 0 || slots_from(p, slots) < 0 || jobs_from(p, jobs) < 0) return -1;
    return 0;
}

void free_plan(plan *p)
{
    PyMem_Free(p->layout.types);
    PyMem_Free(p->layout.places);
    PyMem_Free(p->windows);
    PyMem_Free(p->wheres);
    PyMem_Free(p->sources);
    PyMem_Free(p->slots);
    PyMem_Free(p->parts);
    PyMem_Free(p->jobs);
    PyMem_Free(p->order);
    Py_CLEAR(p->empty);
    Py_CLEAR(p->whole);
    Py_CLEAR(p->error);
    free_work(&p->work);
}
