/* The type Replies. An array of strings is handed over as Bulks; any other reply as its bytes, for hiredis to read. */
#include "replies.h"

int begin(Replies *r, uint32_t wanted)
{
    if (r->busy) {
        PyErr_SetString(PyExc_RuntimeError, "another thread waits for replies here");
        return -1;
    }
    if (wanted <= r->reply_room) return 0;
    reply *more = PyMem_Realloc(r->replies, wanted * sizeof(reply));
    if (!more) {
        PyErr_NoMemory();
        return -1;
    }
    memset(more + r->reply_room, 0, (wanted - r->reply_room) * sizeof(reply));
    r->replies = more;
    r->reply_room = wanted;
    return 0;
}

/* The replies as a list, after which others are awaited. */
PyObject *hand_over(Replies *r, uint32_t wanted)
{
    PyObject *list = PyList_New(wanted);
    for (uint32_t i = 0; list && i < wanted; i++) {
        const reply *found = &r->replies[i];
        PyObject *one = found->plain ? bulks_of(r->buffer, found->first, (Py_ssize_t)found->count)
                                     : PyBytes_FromStringAndSize((const char *)r->buffer->bytes + found->start,
                                                                 (Py_ssize_t)(found->end - found->start));
        if (one) PyList_SET_ITEM(list, i, one);
        else Py_CLEAR(list);
    }
    r->from = r->at;
    r->first = r->buffer->n_bulks;
    r->done = 0;
    return list;
}

PyObject *malformed(const char *what)
{
    PyErr_SetString(PyExc_ValueError, what);
    return NULL;
}

/* feed(bytes): take what has come */
static PyObject *replies_feed(PyObject *self, PyObject *data)
{
    Replies *r = (Replies *)self;
    Py_buffer view;
    if (begin(r, 0) < 0 || PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) return NULL;
    int done = reserve(r, (size_t)view.len);
    if (done == 0) {
        memcpy(r->buffer->bytes + r->buffer->used, view.buf, (size_t)view.len);
        r->buffer->used += (size_t)view.len;
    }
    PyBuffer_Release(&view);
    if (done < 0) return NULL;
    Py_RETURN_NONE;
}

/* next(count) -> [reply] | None where they have not all come */
static PyObject *replies_next(PyObject *self, PyObject *number)
{
    Replies *r = (Replies *)self;
    unsigned long wanted = PyLong_AsUnsignedLong(number);
    if (PyErr_Occurred()) return NULL;
    if (wanted > UINT32_MAX / 2) return malformed("so many replies cannot be awaited");
    if ((r->done || r->depth) && wanted != r->wanted) return malformed("replies are awaited already, but not so many");
    if (begin(r, (uint32_t)wanted) < 0) return NULL;
    r->wanted = (uint32_t)wanted;
    int found;
    while ((found = find_replies(r, (uint32_t)wanted)) == NO_ROOM) {
        if (Py_REFCNT(r->buffer) == 1) return PyErr_NoMemory();
        if (leave(r, LEAST) < 0) return NULL;
    }
    if (found == MALFORMED) return malformed("what came is no reply");
    if (found == MORE) Py_RETURN_NONE;
    return hand_over(r, (uint32_t)wanted);
}

static PyObject *replies_new(PyTypeObject *kind, PyObject *args, PyObject *keywords)
{
    (void)keywords;
    if (!PyArg_ParseTuple(args, "")) return NULL;
    Replies *r = (Replies *)kind->tp_alloc(kind, 0);
    if (r && !(r->buffer = new_buffer(LEAST))) Py_CLEAR(r);
    return (PyObject *)r;
}

static void replies_dealloc(PyObject *self)
{
    Py_XDECREF(((Replies *)self)->buffer);
    PyMem_Free(((Replies *)self)->replies);
    Py_TYPE(self)->tp_free(self);
}

static PyObject *replies_left(PyObject *self, void *closure)
{
    const Replies *r = (const Replies *)self;
    (void)closure;
    return PyLong_FromSize_t(r->buffer->used - r->from);
}

static PyMethodDef METHODS[] = {
    {"feed", replies_feed, METH_O, "Take bytes that have come."},
    {"next", replies_next, METH_O, "So many replies; None where they have not all come. ValueError where they are none."},
    {"exchange", replies_exchange, METH_VARARGS,
     "Send a request to a socket and wait for so many replies; None where nothing came for so many milliseconds."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef ATTRIBUTES[] = {
    {"left", replies_left, NULL, "Bytes that have come and were not handed over.", NULL}, {NULL, NULL, NULL, NULL, NULL},
};

PyTypeObject REPLIES = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "onefold.features._kernel.Replies",
    .tp_doc = "Replies of a Redis, in the order in which they come. An array of strings is Bulks, any other its bytes.",
    .tp_basicsize = sizeof(Replies),
    .tp_new = replies_new,
    .tp_dealloc = replies_dealloc,
    .tp_methods = METHODS,
    .tp_getset = ATTRIBUTES,
    .tp_flags = Py_TPFLAGS_DEFAULT,
};
