/* Replies in Redis' protocol (RESP2), found in the bytes that came without a copy of each string.

   An array of strings is handed over as Bulks; any other reply as its bytes, for hiredis to read. */
#include "bulks.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif

#define DEEPEST 8
#define LEAST ((size_t)1 << 14)
#define MOST_KEPT ((size_t)1 << 20)
#define LONGEST_NUMBER 18

typedef struct { size_t start, end, first, count; int plain; } reply;

typedef struct {
    PyObject_HEAD
    Buffer *buffer;
    size_t at, from, first;      /* how far it was looked at; where the first reply of those that are awaited begins */
    int depth, busy;
    int64_t left[DEEPEST];       /* of the arrays that are open */
    uint32_t done, wanted, reply_room;
    reply *replies;
} Replies;

enum { MORE, DONE, MALFORMED, NO_ROOM, CLOSED, SILENT, FAILED, INTERRUPTED };

/* The number on the line from `at` on, which ends at `end`. */
static int number_at(const uint8_t *at, const uint8_t *end, int64_t *found)
{
    int minus = at < end && *at == '-';
    at += minus;
    if (at == end || end - at > LONGEST_NUMBER) return 0;
    for (*found = 0; at < end; at++) {
        if (*at < '0' || *at > '9') return 0;
        *found = *found * 10 + (*at - '0');
    }
    if (minus) *found = -*found;
    return 1;
}

static int put_bulk(Buffer *b, size_t at, int64_t size)
{
    if (b->n_bulks == b->bulk_room) {
        bulk *more = Py_REFCNT(b) == 1 ? PyMem_RawRealloc(b->bulks, 2 * b->bulk_room * sizeof(bulk)) : NULL;
        if (!more) return 0;
        b->bulks = more;
        b->bulk_room *= 2;
    }
    b->bulks[b->n_bulks++] = (bulk){at, size};
    return 1;
}

/* Something of a reply is whole: so may be what it stands in. */
static void close_one(Replies *r)
{
    while (r->depth && --r->left[r->depth - 1] == 0) r->depth--;
    if (!r->depth) r->replies[r->done++].end = r->at;
}

static void open_reply(Replies *r, uint8_t kind)
{
    if (r->depth == 0) r->replies[r->done] = (reply){r->at, 0, r->buffer->n_bulks, 0, kind == '*'};
    else if (kind != '$' || r->depth > 1) r->replies[r->done].plain = 0;
}

static int take_bulk(Replies *r, size_t line, int64_t size)
{
    Buffer *b = r->buffer;
    if (size < -1) return MALFORMED;
    size_t need = size < 0 ? 0 : (size_t)size + 2;
    if (b->used - line < need) return MORE;
    if (need && (b->bytes[line + need - 2] != '\r' || b->bytes[line + need - 1] != '\n')) return MALFORMED;
    open_reply(r, '$');
    if (r->depth == 1) {
        if (!put_bulk(b, line, size)) return NO_ROOM;
        r->replies[r->done].count++;
    }
    r->at = line + need;
    close_one(r);
    return DONE;
}

static int take_array(Replies *r, size_t line, int64_t count)
{
    if (count < -1 || r->depth == DEEPEST) return MALFORMED;
    open_reply(r, '*');
    if (count < 0) r->replies[r->done].plain = 0;
    r->at = line;
    if (count > 0) r->left[r->depth++] = count;
    else close_one(r);
    return DONE;
}

/* One string, number or error more, or the start of an array. */
static int take_one(Replies *r)
{
    const Buffer *b = r->buffer;
    const uint8_t *start = b->bytes + r->at, *end = b->bytes + b->used;
    const uint8_t *line = start < end ? memchr(start, '\n', (size_t)(end - start)) : NULL;
    int64_t number;
    if (!line) return start < end && !memchr("$*+-:", *start, 5) ? MALFORMED : MORE;
    if (line - start < 2 || line[-1] != '\r') return MALFORMED;
    size_t behind = (size_t)(line + 1 - b->bytes);
    switch (*start) {
    case '$': return number_at(start + 1, line - 1, &number) ? take_bulk(r, behind, number) : MALFORMED;
    case '*': return number_at(start + 1, line - 1, &number) ? take_array(r, behind, number) : MALFORMED;
    case '+': case '-': case ':':
        open_reply(r, *start);
        r->at = behind;
        close_one(r);
        return DONE;
    }
    return MALFORMED;
}

static int find(Replies *r, uint32_t wanted)
{
    int found = DONE;
    while (r->done < wanted && found == DONE) found = take_one(r);
    return r->done == wanted ? DONE : found;
}

/* What is not handed over yet, to the front of a buffer, which may be its own. */
static void move(Replies *r, Buffer *to)
{
    Buffer *own = r->buffer;
    size_t bulks = own->n_bulks - r->first;
    memmove(to->bytes, own->bytes + r->from, own->used - r->from);
    to->used = own->used - r->from;
    if (bulks) memmove(to->bulks, own->bulks + r->first, bulks * sizeof(bulk));
    to->n_bulks = bulks;
    for (size_t i = 0; i < bulks; i++) to->bulks[i].at -= r->from;
    for (uint32_t i = 0; i < r->reply_room; i++) {
        r->replies[i].start -= r->from;
        r->replies[i].end -= r->from;
        r->replies[i].first -= r->first;
    }
    r->at -= r->from;
    r->from = r->first = 0;
}

/* Puts what is not handed over into a buffer of its own with room for so many bytes more. */
static int leave(Replies *r, size_t need)
{
    Buffer *own = r->buffer;
    size_t kept = own->used - r->from, bulks = own->n_bulks - r->first, room = LEAST;
    while (room < kept + need) room *= 2;
    Buffer *other = new_buffer(room);
    if (!other) return -1;
    while (other->bulk_room <= bulks) {
        bulk *more = PyMem_RawRealloc(other->bulks, 2 * other->bulk_room * sizeof(bulk));
        if (!more) {
            Py_DECREF(other);
            PyErr_NoMemory();
            return -1;
        }
        other->bulks = more;
        other->bulk_room *= 2;
    }
    move(r, other);
    r->buffer = other;
    Py_DECREF(own);
    return 0;
}

static int widen(Buffer *b, size_t room)
{
    uint8_t *more = PyMem_RawRealloc(b->bytes, room);
    if (!more) return 0;
    b->bytes = more;
    b->room = room;
    return 1;
}

/* Room for so many bytes more. What was handed over makes way, where nobody holds it any more. */
static int reserve(Replies *r, size_t need)
{
    Buffer *b = r->buffer;
    int shared = Py_REFCNT(b) > 1;
    if (!shared && r->from > b->used - r->from) {
        size_t was = b->used;
        move(r, b);
        if (b->room > MOST_KEPT && was < b->room / 8 && !widen(b, b->room / 2)) return PyErr_NoMemory() ? 0 : -1;
    }
    if (b->room - b->used >= need) return 0;
    if (shared) return leave(r, need);
    size_t room = 2 * b->room;
    while (room - b->used < need) room *= 2;
    if (widen(b, room)) return 0;
    PyErr_NoMemory();
    return -1;
}

static int begin(Replies *r, uint32_t wanted)
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
static PyObject *hand_over(Replies *r, uint32_t wanted)
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

static PyObject *malformed(const char *what)
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
    while ((found = find(r, (uint32_t)wanted)) == NO_ROOM) {
        if (Py_REFCNT(r->buffer) == 1) return PyErr_NoMemory();
        if (leave(r, LEAST) < 0) return NULL;
    }
    if (found == MALFORMED) return malformed("what came is no reply");
    if (found == MORE) Py_RETURN_NONE;
    return hand_over(r, (uint32_t)wanted);
}

typedef struct { int fd, timeout, error; const char *out; size_t left; uint32_t wanted; } talk;

static int send_more(talk *t)
{
    ssize_t sent = send(t->fd, t->out, t->left, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) {
        t->out += sent;
        t->left -= (size_t)sent;
        return MORE;
    }
    t->error = errno;
    if (t->error == EINTR) return INTERRUPTED;
    return t->error == EAGAIN || t->error == EWOULDBLOCK ? MORE : FAILED;
}

static int receive(Replies *r, talk *t)
{
    Buffer *b = r->buffer;
    if (b->room == b->used && !widen(b, 2 * b->room)) return NO_ROOM;
    ssize_t count = recv(t->fd, b->bytes + b->used, b->room - b->used, MSG_DONTWAIT);
    if (count == 0) return CLOSED;
    if (count < 0) {
        t->error = errno;
        if (t->error == EINTR) return INTERRUPTED;
        return t->error == EAGAIN || t->error == EWOULDBLOCK ? MORE : FAILED;
    }
    b->used += (size_t)count;
    int found = find(r, t->wanted);
    return found == DONE && r->at < b->used ? MALFORMED : found;
}

/* Send and receive until all is there. Both at once: a server may stop reading until its answers are taken. */
static int converse(Replies *r, talk *t)
{
    int found = MORE;
    while (found == MORE) {
        if (t->left && (found = send_more(t)) != MORE) break;
        struct pollfd waiting = {t->fd, (short)(t->left ? POLLIN | POLLOUT : POLLIN), 0};
        int ready = poll(&waiting, 1, t->timeout);
        if (ready == 0) return SILENT;
        if (ready < 0) {
            t->error = errno;
            return errno == EINTR ? INTERRUPTED : FAILED;
        }
        if (waiting.revents & ~POLLOUT) found = receive(r, t);
    }
    return found;
}

static PyObject *outcome(Replies *r, const talk *t, int found)
{
    switch (found) {
    case DONE: return hand_over(r, t->wanted);
    case SILENT: Py_RETURN_NONE;
    case NO_ROOM: return PyErr_NoMemory();
    case CLOSED:
        PyErr_SetString(PyExc_ConnectionResetError, "the server closed the connection");
        return NULL;
    case FAILED:
        errno = t->error;
        return PyErr_SetFromErrno(PyExc_OSError);
    case MALFORMED: return malformed("what came is no reply, or one that nobody asked for");
    }
    return NULL;
}

/* exchange(fd, request, count, milliseconds) -> [reply] | None where nothing came for so long */
static PyObject *replies_exchange(PyObject *self, PyObject *args)
{
    Replies *r = (Replies *)self;
    Py_buffer request;
    talk t = {0};
    if (!PyArg_ParseTuple(args, "iy*Ii", &t.fd, &request, &t.wanted, &t.timeout)) return NULL;
    PyObject *answer = NULL;
    int found = INTERRUPTED, bad = !t.wanted || t.wanted > UINT32_MAX / 2 || r->from < r->buffer->used;
    t.out = request.buf;
    t.left = (size_t)request.len;
    if (bad) malformed("a reply has come that nobody asked for");
    else if (begin(r, t.wanted) == 0 && (Py_REFCNT(r->buffer) == 1 ? reserve(r, 1) : leave(r, 1)) == 0) {
        r->busy = 1;
        while (found == INTERRUPTED && PyErr_CheckSignals() == 0) {
            Py_BEGIN_ALLOW_THREADS
            found = converse(r, &t);
            Py_END_ALLOW_THREADS
        }
        r->busy = 0;
        answer = outcome(r, &t, found);
    }
    PyBuffer_Release(&request);
    return answer;
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
