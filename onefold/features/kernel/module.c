/* The module `onefold.features._kernel`: its one type is a plan, whose one method reads many states. */
#include "bulks.h"

typedef struct {
    PyObject_HEAD
    plan plan;
} Plan;

static PyObject *plan_new(PyTypeObject *kind, PyObject *arguments, PyObject *keywords)
{
    PyObject *specification;
    (void)keywords;
    if (!PyArg_ParseTuple(arguments, "O!", &PyTuple_Type, &specification)) return NULL;
    Plan *self = (Plan *)kind->tp_alloc(kind, 0);
    if (self && plan_from(&self->plan, specification) < 0) Py_CLEAR(self);
    return (PyObject *)self;
}

static void plan_dealloc(PyObject *self)
{
    PyTypeObject *kind = Py_TYPE(self);
    free_plan(&((Plan *)self)->plan);
    kind->tp_free(self);
    Py_DECREF(kind);
}

/* Microseconds; beyond all years every time is the same. */
static int time_from(PyObject *number, int64_t *t)
{
    int overflow;
    *t = PyLong_AsLongLongAndOverflow(number, &overflow);
    if (*t == -1 && !overflow && PyErr_Occurred()) return -1;
    if (overflow > 0 || *t > MOST_TIME) *t = MOST_TIME;
    else if (overflow < 0 || *t < -MOST_TIME) *t = -MOST_TIME;
    return 0;
}

/* What no events give; of a corrupt state too, beside its error. */
static int of_nothing(const plan *p, PyObject **parts)
{
    parts[VALUES] = Py_NewRef(p->empty);
    parts[PARTIAL] = Py_NewRef(p->whole);
    parts[OFFSETS] = PyDict_New();
    parts[NEWEST] = Py_NewRef(Py_None);
    parts[EVENTS] = PyLong_FromLong(0);
    return parts[OFFSETS] && parts[EVENTS] ? 0 : -1;
}

static int note_error(const plan *p, const work *w, PyObject *errors, Py_ssize_t number)
{
    PyObject *key = PyLong_FromSsize_t(number), *error = PyObject_CallFunction(p->error, "s", w->error);
    int done = key && error ? PyDict_SetItem(errors, key, error) : -1;
    Py_XDECREF(key);
    Py_XDECREF(error);
    return done;
}

typedef struct {
    PyObject *columns[PARTS];   /* lists, one item a state */
    PyObject *errors;           /* by number of the state */
    uint64_t value_errors;
} readings;

/* A state's bytes, where they are; none are NULL. */
static int bytes_of(PyObject *states, Py_ssize_t number, const uint8_t **bytes, size_t *size)
{
    if (is_bulks(states)) {
        const Bulks *b = (const Bulks *)states;
        bulk found = bulk_of(b, number);
        *bytes = b->buffer->bytes + found.at;
        *size = found.size < 0 ? 0 : (size_t)found.size;
        return 0;
    }
    PyObject *state = PySequence_Fast_GET_ITEM(states, number);
    *size = 0;
    if (state == Py_None) return 0;
    if (!PyBytes_Check(state)) {
        PyErr_Format(PyExc_TypeError, "a state is bytes, found %.50s", Py_TYPE(state)->tp_name);
        return -1;
    }
    *bytes = (const uint8_t *)PyBytes_AS_STRING(state);
    *size = (size_t)PyBytes_GET_SIZE(state);
    return 0;
}

static int read_one(const plan *p, work *w, PyObject *states, PyObject *time, Py_ssize_t number, readings *out)
{
    PyObject *parts[PARTS] = {NULL};
    const uint8_t *bytes;
    size_t size;
    int64_t t;
    if (time_from(time, &t) < 0 || bytes_of(states, number, &bytes, &size) < 0) return -1;
    int done = 0, is_state = size != 0;
    if (is_state) done = read_state(p, w, bytes, size, t, parts, &out->value_errors);
    if (is_state && done == 0 && note_error(p, w, out->errors, number) < 0) done = -1;
    if (done == 0 && of_nothing(p, parts) < 0) done = -1;
    for (int i = 0; i < PARTS; i++) {
        if (done < 0) Py_XDECREF(parts[i]);
        else PyList_SET_ITEM(out->columns[i], number, parts[i]);
    }
    return done;
}

static int read_all(const plan *p, work *w, PyObject *states, PyObject *times, readings *out)
{
    Py_ssize_t n = is_bulks(states) ? PySequence_Length(states) : PySequence_Fast_GET_SIZE(states);
    if (n != PySequence_Fast_GET_SIZE(times)) {
        PyErr_Format(PyExc_ValueError, "%zd states have %zd times", n, PySequence_Fast_GET_SIZE(times));
        return -1;
    }
    out->errors = PyDict_New();
    if (!out->errors) return -1;
    for (int i = 0; i < PARTS; i++)
        if (!(out->columns[i] = PyList_New(n))) return -1;
    for (Py_ssize_t i = 0; i < n; i++) {
        if (read_one(p, w, states, PySequence_Fast_GET_ITEM(times, i), i, out) < 0) return -1;
    }
    return 0;
}

/* read(states, times) -> (values, partial, offsets, newest, events, errors, value errors) */
static PyObject *plan_read(PyObject *self, PyObject *const *arguments, Py_ssize_t count)
{
    plan *p = &((Plan *)self)->plan;
    if (count != 2) return PyErr_Format(PyExc_TypeError, "read takes states and times, found %zd arguments", count);
    PyObject *states = is_bulks(arguments[0]) ? Py_NewRef(arguments[0]) : PySequence_Fast(arguments[0], "states are a sequence");
    PyObject *answer = NULL;
    PyObject *times = states ? PySequence_Fast(arguments[1], "times are a sequence") : NULL;
    readings found = {{NULL}, NULL, 0};
    work w = p->work;  /* a collection in the midst of it may run code that reads too, or another thread */
    p->work = (work){0};
    if (times && read_all(p, &w, states, times, &found) == 0)
        answer = Py_BuildValue("OOOOOOK", found.columns[0], found.columns[1], found.columns[2], found.columns[3],
                               found.columns[4], found.errors, (unsigned long long)found.value_errors);
    if (p->work.first) free_work(&w);
    else p->work = w;
    for (int i = 0; i < PARTS; i++) Py_XDECREF(found.columns[i]);
    Py_XDECREF(found.errors);
    Py_XDECREF(states);
    Py_XDECREF(times);
    return answer;
}

static PyMethodDef METHODS[] = {
    {"read", (PyCFunction)(void (*)(void))plan_read, METH_FASTCALL,
     "read(states, times): the parts of Readings as lists, errors by number, and how many value errors were met."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot TYPE_SLOTS[] = {
    {Py_tp_new, (void *)plan_new}, {Py_tp_dealloc, (void *)plan_dealloc}, {Py_tp_methods, METHODS}, {0, NULL},
};

static PyType_Spec TYPE = {
    .name = "onefold.features._kernel.Plan",
    .basicsize = sizeof(Plan),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = TYPE_SLOTS,
};

static int fill(PyObject *module)
{
    if (PyModule_AddFunctions(module, RECORDS) < 0 || PyModule_AddFunctions(module, APPENDS) < 0) return -1;
    if (PyModule_AddFunctions(module, TIMES) < 0 || PyModule_AddFunctions(module, NAMES) < 0) return -1;
    if (PyModule_AddFunctions(module, SERVED) < 0) return -1;
    if (PyType_Ready(&BUFFER) < 0 || PyType_Ready(&BULKS) < 0 || PyType_Ready(&REPLIES) < 0) return -1;
    if (PyModule_AddObjectRef(module, "Replies", (PyObject *)&REPLIES) < 0) return -1;
    if (PyModule_AddObjectRef(module, "Bulks", (PyObject *)&BULKS) < 0) return -1;
    PyObject *type = PyType_FromModuleAndSpec(module, &TYPE, NULL);
    if (!type) return -1;
    int done = PyModule_AddObjectRef(module, "Plan", type);
    Py_DECREF(type);
    return done < 0 ? -1 : PyModule_AddIntConstant(module, "INTERFACE", INTERFACE);
}

static PyModuleDef_Slot SLOTS[] = {{Py_mod_exec, (void *)fill}, {0, NULL}};

static struct PyModuleDef MODULE = {
    PyModuleDef_HEAD_INIT,
    .m_name = "onefold.features._kernel",
    .m_doc = "Reads states natively; see onefold/features/native.py.",
    .m_slots = SLOTS,
};

PyMODINIT_FUNC PyInit__kernel(void)
{
    return PyModuleDef_Init(&MODULE);
}
