/* The names of the strings of many rows, as `keys.namer` makes them, where a key is short. */
#include "kernel.h"

#define LONGEST 200

typedef struct { PyObject *column; char tag; } field;

/* A row's value, borrowed or not: a new reference. */
static PyObject *value_in(PyObject *row, PyObject *column)
{
    if (!PyDict_CheckExact(row)) return PyObject_GetItem(row, column);
    PyObject *found = PyDict_GetItemWithError(row, column);
    if (!found && !PyErr_Occurred()) PyErr_SetObject(PyExc_KeyError, column);
    return Py_XNewRef(found);
}

/* Bytes of a text behind its tag and length, or of a whole number behind its tag: how many; 0 where Python must say. */
static size_t put_value(PyObject *value, char tag, uint8_t *to, size_t room)
{
    if (tag == 'v') {
        Py_ssize_t size;
        const char *text = PyUnicode_Check(value) ? PyUnicode_AsUTF8AndSize(value, &size) : NULL;
        if (!text || (size_t)size + 3 > room) return 0;
        to[0] = 'v';
        to[1] = 0;
        to[2] = (uint8_t)size;
        memcpy(to + 3, text, (size_t)size);
        return (size_t)size + 3;
    }
    int overflow;
    if (!PyLong_Check(value) || room < 9) return 0;
    int64_t number = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (overflow) return 0;
    uint64_t bits = __builtin_bswap64((uint64_t)number);
    to[0] = (uint8_t)tag;
    memcpy(to + 1, &bits, 8);
    return 9;
}

/* The name of a row's string, None where a part of its key is NULL. */
static PyObject *name_of(PyObject *prefix, const field *fields, Py_ssize_t n, PyObject *row, PyObject *other)
{
    uint8_t key[LONGEST];
    size_t size = 0;
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject *value = value_in(row, fields[i].column);
        if (!value) return NULL;
        size_t more = value == Py_None ? 0 : put_value(value, fields[i].tag, key + size, LONGEST - size);
        Py_DECREF(value);
        if (!more) {  /* NULL, long, or no such value */
            PyErr_Clear();
            return PyObject_CallFunctionObjArgs(other, prefix, row, NULL);
        }
        size += more;
    }
    size_t before = (size_t)PyBytes_GET_SIZE(prefix);
    PyObject *name = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(before + size + 1));
    if (!name) return NULL;
    char *to = PyBytes_AS_STRING(name);
    memcpy(to, PyBytes_AS_STRING(prefix), before);
    memcpy(to + before, key, size);
    to[before + size] = 0;
    return name;
}

/* names(prefix, ((column, tag), ..), rows, other) -> [name | None]; other(prefix, row) names what is no short key */
static PyObject *names(PyObject *self, PyObject *args)
{
    PyObject *prefix, *told, *rows, *other;
    field fields[LONGEST];
    if (!PyArg_ParseTuple(args, "SO!OO", &prefix, &PyTuple_Type, &told, &rows, &other)) return NULL;
    Py_ssize_t n = PyTuple_GET_SIZE(told);
    if (n > LONGEST) return PyErr_Format(PyExc_ValueError, "a key of %zd parts", n);
    for (Py_ssize_t i = 0; i < n; i++) {
        int tag;
        if (!PyArg_ParseTuple(PyTuple_GET_ITEM(told, i), "OC", &fields[i].column, &tag)) return NULL;
        fields[i].tag = (char)tag;
    }
    if (!(rows = PySequence_Fast(rows, "rows are a sequence"))) return NULL;
    PyObject *found = PyList_New(0);
    for (Py_ssize_t i = 0; found && i < PySequence_Fast_GET_SIZE(rows); i++) {
        PyObject *row = Py_NewRef(PySequence_Fast_GET_ITEM(rows, i)), *name = name_of(prefix, fields, n, row, other);
        if (!name || PyList_Append(found, name) < 0) Py_CLEAR(found);
        Py_XDECREF(name);
        Py_DECREF(row);
    }
    Py_DECREF(rows);
    return found;
}

PyMethodDef NAMES[] = {
    {"names", names, METH_VARARGS, "The names of the strings of many rows; None where a part of a key is NULL."},
    {NULL, NULL, 0, NULL},
};
