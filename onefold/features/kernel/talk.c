/* A request and its replies over a socket, in one call without the GIL. */
#include "replies.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif

typedef struct { int fd, timeout, error; const char *out; size_t left; uint32_t wanted; } talk;

/* What errno says of a call; one that would have had to wait is tried again. */
static int failed(talk *t)
{
    t->error = errno;
    if (t->error == EINTR) return INTERRUPTED;
    return t->error == EAGAIN || t->error == EWOULDBLOCK ? MORE : FAILED;
}

static int send_more(talk *t)
{
    ssize_t sent = send(t->fd, t->out, t->left, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) {
        t->out += sent;
        t->left -= (size_t)sent;
        return MORE;
    }
    return failed(t);
}

static int receive(Replies *r, talk *t)
{
    Buffer *b = r->buffer;
    if (b->room == b->used && !widen(b, 2 * b->room)) return NO_ROOM;
    ssize_t count = recv(t->fd, b->bytes + b->used, b->room - b->used, MSG_DONTWAIT);
    if (count == 0) return CLOSED;
    if (count < 0) return failed(t);
    b->used += (size_t)count;
    int found = find_replies(r, t->wanted);
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
PyObject *replies_exchange(PyObject *self, PyObject *args)
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
