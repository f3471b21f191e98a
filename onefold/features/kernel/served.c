/* What is made of many readings: statuses by age, as `GroupReader._judge` finds them, and rows, as `served_row.rows_of` does. */
#include "bulks.h"

#define MOST_BOUNDS 64

typedef struct { int64_t at[MOST_BOUNDS]; Py_ssize_t count; } ages;

static int small(PyObject *number, int64_t *found)
{
    int overflow = 1;
    if (PyLong_Check(number)) *found = PyLong_AsLongLongAndOverflow(number, &overflow);
    return !overflow && *found <= MOST_TIME && *found >= -MOST_TIME;
}

static int ages_from(PyObject *list, ages *a)
{
    a->count = PyList_GET_SIZE(list);
    if (a->count > MOST_BOUNDS) return 0;
    for (Py_ssize_t i = 0; i < a->count; i++)
        if (!small(PyList_GET_ITEM(list, i), &a->at[i])) return 0;
    return 1;
}

/* Which of the frequent statuses; -1 where they must be worked out. */
static long judge_one(int is_state, PyObject *time, PyObject *newest, int is_whole, const ages *a, long missing)
{
    int64_t t, last;
    if (!is_state) return missing;
    if (!is_whole || !small(newest, &last) || !small(time, &t)) return -1;
    long found = 0;
    while (found < a->count && a->at[found] < t - last) found++;
    return found;
}

static int is_state(PyObject *states, Py_ssize_t i)
{
    if (is_bulks(states)) return bulk_of((const Bulks *)states, i).size > 0;
    PyObject *state = PySequence_Fast_GET_ITEM(states, i);
    return state != Py_None && !(PyBytes_Check(state) && !PyBytes_GET_SIZE(state));
}

/* judge(states, times, newest, partial, whole, bounds, missing) -> [number | None] */
static PyObject *judge(PyObject *self, PyObject *args)
{
    PyObject *states, *times, *newest, *partial, *whole, *bounds;
    long missing;
    ages a;
    if (!PyArg_ParseTuple(args, "OOO!O!OO!l", &states, &times, &PyList_Type, &newest, &PyList_Type, &partial, &whole,
                          &PyList_Type, &bounds, &missing))
        return NULL;
    Py_ssize_t n = PyList_GET_SIZE(newest);
    if (!ages_from(bounds, &a)) return PyErr_Format(PyExc_ValueError, "bounds are at most %d ages", MOST_BOUNDS);
    if (!(states = is_bulks(states) ? Py_NewRef(states) : PySequence_Fast(states, "states are a sequence"))) return NULL;
    Py_ssize_t given = is_bulks(states) ? PySequence_Length(states) : PySequence_Fast_GET_SIZE(states);
    PyObject *found = NULL;
    if (!(times = PySequence_Fast(times, "times are a sequence"))) goto end;
    if (given != n || PySequence_Fast_GET_SIZE(times) != n || PyList_GET_SIZE(partial) != n) {
        PyErr_SetString(PyExc_ValueError, "there are as many states as times and readings");
        goto end;
    }
    found = PyList_New(n);
    for (Py_ssize_t i = 0; found && i < n; i++) {
        long number = judge_one(is_state(states, i), PySequence_Fast_GET_ITEM(times, i),
                                PyList_GET_ITEM(newest, i), PyList_GET_ITEM(partial, i) == whole, &a, missing);
        PyObject *one = number < 0 ? Py_NewRef(Py_None) : PyLong_FromLong(number);
        if (one) PyList_SET_ITEM(found, i, one);
        else Py_CLEAR(found);
    }
end:
    Py_DECREF(states);
    Py_XDECREF(times);
    return found;
}

/* A row's strings: a tuple of (place, offsets), one a group. Like the rows themselves they lead nowhere that leads back to them,
   so that no collection need look at them. */
static PyObject *reads_of(PyObject *places, PyObject *offsets, Py_ssize_t row)
{
    Py_ssize_t n = PyTuple_GET_SIZE(places);
    PyObject *reads = PyTuple_New(n);
    for (Py_ssize_t i = 0; reads && i < n; i++) {
        PyObject *read = PyTuple_Pack(2, PyTuple_GET_ITEM(places, i), PyList_GET_ITEM(PyTuple_GET_ITEM(offsets, i), row));
        if (read) PyObject_GC_UnTrack(read);
        if (read) PyTuple_SET_ITEM(reads, i, read);
        else Py_CLEAR(reads);
    }
    return reads;
}

static int is_even(PyObject *places, PyObject *offsets, Py_ssize_t rows)
{
    if (PyTuple_GET_SIZE(places) != PyTuple_GET_SIZE(offsets)) return 0;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(offsets); i++) {
        PyObject *list = PyTuple_GET_ITEM(offsets, i);
        if (!PyList_Check(list) || PyList_GET_SIZE(list) != rows) return 0;
    }
    return 1;
}

static PyObject *row_of(PyTypeObject *kind, PyObject *values, PyObject *statuses, PyObject *reads, PyObject *errors)
{
    PyObject *row = reads ? kind->tp_alloc(kind, 4) : NULL;
    if (!row) {
        Py_XDECREF(reads);
        return NULL;
    }
    PyTuple_SET_ITEM(row, 0, Py_NewRef(values));
    PyTuple_SET_ITEM(row, 1, Py_NewRef(statuses));
    PyTuple_SET_ITEM(row, 2, reads);
    PyTuple_SET_ITEM(row, 3, Py_NewRef(errors));
    PyObject_GC_UnTrack(reads);
    PyObject_GC_UnTrack(row);
    return row;
}

/* rows(kind, values, statuses, places, offsets) -> [kind(values, statuses, reads, ())], kind being a tuple of four */
static PyObject *rows(PyObject *self, PyObject *args)
{
    PyObject *kind, *values, *statuses, *places, *offsets;
    if (!PyArg_ParseTuple(args, "O!O!O!O!O!", &PyType_Type, &kind, &PyList_Type, &values, &PyList_Type, &statuses,
                          &PyTuple_Type, &places, &PyTuple_Type, &offsets))
        return NULL;
    Py_ssize_t n = PyList_GET_SIZE(values);
    if (!PyType_IsSubtype((PyTypeObject *)kind, &PyTuple_Type) || PyList_GET_SIZE(statuses) != n || !is_even(places, offsets, n))
        return PyErr_Format(PyExc_ValueError, "rows are of as many values as statuses and offsets");
    PyObject *found = PyList_New(n), *none = PyTuple_New(0);
    for (Py_ssize_t i = 0; found && i < n; i++) {
        PyObject *row = row_of((PyTypeObject *)kind, PyList_GET_ITEM(values, i), PyList_GET_ITEM(statuses, i),
                               reads_of(places, offsets, i), none);
        if (row) PyList_SET_ITEM(found, i, row);
        else Py_CLEAR(found);
    }
    Py_XDECREF(none);
    return found;
}

PyMethodDef SERVED[] = {
    {"judge", judge, METH_VARARGS, "The numbers of frequent statuses by age; None for each that is to be worked out."},
    {"rows", rows, METH_VARARGS, "Rows of values, statuses and where they were read from."},
    {NULL, NULL, 0, NULL},
};
