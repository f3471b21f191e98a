/* The module `onefold.features._kernel`: its one type is a plan, whose one method reads many states. */
#include "kernel.h"

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

static PyObject *of_nothing(const plan *p)
{
    PyObject *values = PyList_GetSlice(p->empty, 0, PyList_GET_SIZE(p->empty)), *offsets = PyDict_New();
    PyObject *found = values && offsets ? ((PyTypeObject *)p->reading)->tp_alloc((PyTypeObject *)p->reading, 5) : NULL;
    PyObject *zero = PyLong_FromLong(0);
    if (!found || !zero) {
        Py_XDECREF(values);
        Py_XDECREF(offsets);
        Py_XDECREF(found);
        Py_XDECREF(zero);
        return NULL;
    }
    PyTuple_SET_ITEM(found, 0, values);
    PyTuple_SET_ITEM(found, 1, Py_NewRef(p->whole));
    PyTuple_SET_ITEM(found, 2, offsets);
    PyTuple_SET_ITEM(found, 3, Py_NewRef(Py_None));
    PyTuple_SET_ITEM(found, 4, zero);
    return found;
}

static PyObject *read_one(const plan *p, work *w, PyObject *state, PyObject *time, uint64_t *value_errors)
{
    int64_t t;
    if (time_from(time, &t) < 0) return NULL;
    if (state == Py_None) return of_nothing(p);
    if (!PyBytes_Check(state)) return PyErr_Format(PyExc_TypeError, "a state is bytes, found %.50s", Py_TYPE(state)->tp_name);
    if (!PyBytes_GET_SIZE(state)) return of_nothing(p);
    return read_state(p, w, (const uint8_t *)PyBytes_AS_STRING(state), (size_t)PyBytes_GET_SIZE(state), t, value_errors);
}

/* read(states, times) -> (readings, value errors) */
static PyObject *plan_read(PyObject *self, PyObject *const *arguments, Py_ssize_t count)
{
    plan *p = &((Plan *)self)->plan;
    if (count != 2) return PyErr_Format(PyExc_TypeError, "read takes states and times, found %zd arguments", count);
    PyObject *states = PySequence_Fast(arguments[0], "states are a sequence");
    PyObject *times = states ? PySequence_Fast(arguments[1], "times are a sequence") : NULL;
    PyObject *found = NULL, *answer = NULL;
    uint64_t value_errors = 0;
    work w = p->work;  /* a collection in the midst of it may run code that reads too, or another thread */
    p->work = (work){0};
    if (!times) goto done;
    Py_ssize_t n = PySequence_Fast_GET_SIZE(states);
    if (n != PySequence_Fast_GET_SIZE(times)) {
        PyErr_Format(PyExc_ValueError, "%zd states have %zd times", n, PySequence_Fast_GET_SIZE(times));
        goto done;
    }
    found = PyList_New(n);
    for (Py_ssize_t i = 0; found && i < n; i++) {
        PyObject *one = read_one(p, &w, PySequence_Fast_GET_ITEM(states, i), PySequence_Fast_GET_ITEM(times, i), &value_errors);
        if (one) PyList_SET_ITEM(found, i, one);
        else Py_CLEAR(found);
    }
    if (found) answer = Py_BuildValue("OK", found, (unsigned long long)value_errors);
done:
    if (p->work.first) free_work(&w);
    else p->work = w;
    Py_XDECREF(found);
    Py_XDECREF(states);
    Py_XDECREF(times);
    return answer;
}

static PyMethodDef METHODS[] = {
    {"read", (PyCFunction)(void (*)(void))plan_read, METH_FASTCALL,
     "read(states, times): a Reading or StateError for each, and how many value errors were met."},
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
    if (PyModule_AddFunctions(module, TIMES) < 0) return -1;
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
