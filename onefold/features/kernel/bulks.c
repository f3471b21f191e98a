/* The types of bulks.h: bytes that came, and the strings that lie in them. */
#include "bulks.h"

Buffer *new_buffer(size_t room)
{
    Buffer *b = PyObject_New(Buffer, &BUFFER);
    if (!b) return NULL;
    b->used = b->n_bulks = 0;
    b->room = room;
    b->bulk_room = 128;
    b->bytes = PyMem_RawMalloc(b->room);
    b->bulks = PyMem_RawMalloc(b->bulk_room * sizeof(bulk));
    if (b->bytes && b->bulks) return b;
    Py_DECREF(b);
    PyErr_NoMemory();
    return NULL;
}

int widen(Buffer *b, size_t room)
{
    uint8_t *more = PyMem_RawRealloc(b->bytes, room);
    if (!more) return 0;
    b->bytes = more;
    b->room = room;
    return 1;
}

int fit_bulks(Buffer *b, size_t count)
{
    size_t room = b->bulk_room;
    while (room < count) room *= 2;
    bulk *more = room > b->bulk_room ? PyMem_RawRealloc(b->bulks, room * sizeof(bulk)) : b->bulks;
    if (!more) return 0;
    b->bulks = more;
    b->bulk_room = room;
    return 1;
}

static void buffer_dealloc(PyObject *self)
{
    PyMem_RawFree(((Buffer *)self)->bytes);
    PyMem_RawFree(((Buffer *)self)->bulks);
    PyObject_Free(self);
}

PyObject *bulks_of(Buffer *buffer, size_t first, Py_ssize_t count)
{
    Bulks *b = PyObject_New(Bulks, &BULKS);
    if (!b) return NULL;
    b->buffer = (Buffer *)Py_NewRef((PyObject *)buffer);
    b->first = first;
    b->count = count;
    return (PyObject *)b;
}

static void bulks_dealloc(PyObject *self)
{
    Py_DECREF(((Bulks *)self)->buffer);
    PyObject_Free(self);
}

static Py_ssize_t bulks_length(PyObject *self) { return ((Bulks *)self)->count; }

static PyObject *bulks_item(PyObject *self, Py_ssize_t i)
{
    const Bulks *b = (const Bulks *)self;
    if (i < 0 || i >= b->count) {
        PyErr_SetString(PyExc_IndexError, "index out of range");
        return NULL;
    }
    bulk found = bulk_of(b, i);
    if (found.size < 0) Py_RETURN_NONE;
    return PyBytes_FromStringAndSize((const char *)b->buffer->bytes + found.at, (Py_ssize_t)found.size);
}

/* By number, or a run of them, in place too; other slices are lists. */
static PyObject *bulks_subscript(PyObject *self, PyObject *key)
{
    const Bulks *b = (const Bulks *)self;
    Py_ssize_t start, stop, step;
    if (!PySlice_Check(key)) {
        Py_ssize_t i = PyNumber_AsSsize_t(key, PyExc_IndexError);
        if (i == -1 && PyErr_Occurred()) return NULL;
        return bulks_item(self, i < 0 ? i + b->count : i);
    }
    if (PySlice_Unpack(key, &start, &stop, &step) < 0) return NULL;
    Py_ssize_t count = PySlice_AdjustIndices(b->count, &start, &stop, step);
    if (step == 1) return bulks_of(b->buffer, b->first + (size_t)start, count);
    PyObject *list = PyList_New(count);
    for (Py_ssize_t i = 0; list && i < count; i++) {
        PyObject *one = bulks_item(self, start + i * step);
        if (one) PyList_SET_ITEM(list, i, one);
        else Py_CLEAR(list);
    }
    return list;
}

/* As a list of the same compares. */
static PyObject *bulks_compare(PyObject *self, PyObject *other, int how)
{
    if ((how != Py_EQ && how != Py_NE) || !(PyList_Check(other) || is_bulks(other))) Py_RETURN_NOTIMPLEMENTED;
    PyObject *mine = PySequence_List(self), *theirs = mine ? PySequence_List(other) : NULL;
    PyObject *found = theirs ? PyObject_RichCompare(mine, theirs, how) : NULL;
    Py_XDECREF(mine);
    Py_XDECREF(theirs);
    return found;
}

static PyObject *bulks_repr(PyObject *self)
{
    PyObject *list = PySequence_List(self), *found = list ? PyObject_Repr(list) : NULL;
    Py_XDECREF(list);
    return found;
}

static PySequenceMethods SEQUENCE = {.sq_length = bulks_length, .sq_item = bulks_item};
static PyMappingMethods MAPPING = {.mp_length = bulks_length, .mp_subscript = bulks_subscript};

PyTypeObject BUFFER = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "onefold.features._kernel.Buffer",
    .tp_basicsize = sizeof(Buffer),
    .tp_dealloc = buffer_dealloc,
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
};

PyTypeObject BULKS = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "onefold.features._kernel.Bulks",
    .tp_doc = "A sequence of bytes and Nones within the bytes that a store answered.",
    .tp_basicsize = sizeof(Bulks),
    .tp_dealloc = bulks_dealloc,
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_SEQUENCE,
    .tp_as_sequence = &SEQUENCE,
    .tp_as_mapping = &MAPPING,
    .tp_richcompare = bulks_compare,
    .tp_hash = PyObject_HashNotImplemented,
    .tp_repr = bulks_repr,
};
