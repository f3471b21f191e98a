/* Room for what comes, in a buffer that others may hold: what they hold neither changes nor moves. */
#include "replies.h"

#define MOST_KEPT ((size_t)1 << 20)

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
int leave(Replies *r, size_t need)
{
    Buffer *own = r->buffer;
    size_t kept = own->used - r->from, room = LEAST;
    while (room < kept + need) room *= 2;
    Buffer *other = new_buffer(room);
    if (!other) return -1;
    if (!fit_bulks(other, own->n_bulks - r->first + 1)) {
        Py_DECREF(other);
        PyErr_NoMemory();
        return -1;
    }
    move(r, other);
    r->buffer = other;
    Py_DECREF(own);
    return 0;
}

/* Room for so many bytes more. What was handed over makes way, where nobody holds it any more. */
int reserve(Replies *r, size_t need)
{
    Buffer *b = r->buffer;
    int shared = Py_REFCNT(b) > 1;
    if (!shared && r->from > b->used - r->from) {
        size_t was = b->used;
        move(r, b);
        if (b->room > MOST_KEPT && was < b->room / 8 && !widen(b, b->room / 2)) goto full;
    }
    if (b->room - b->used >= need) return 0;
    if (shared) return leave(r, need);
    size_t room = 2 * b->room;
    while (room - b->used < need) room *= 2;
    if (widen(b, room)) return 0;
full:
    PyErr_NoMemory();
    return -1;
}
