/* Replies of a Redis: found in the bytes that came (resp.c), which are kept where others may hold them too (room.c), taken
   from a socket (talk.c), and handed over to Python (replies.c). */
#ifndef ONEFOLD_REPLIES_H
#define ONEFOLD_REPLIES_H

#include "bulks.h"

#define LEAST ((size_t)1 << 14)   /* bytes of a buffer */
#define DEEPEST 8

typedef struct { size_t start, end, first, count; int plain; } reply;   /* plain: an array of strings, from `first` on */

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

/* Whether so many replies are there: DONE, MORE, MALFORMED, or NO_ROOM for their strings in a buffer that others hold. */
int find_replies(Replies *r, uint32_t wanted);

/* Both give -1 with a Python error. */
int leave(Replies *r, size_t need);
int reserve(Replies *r, size_t need);

int begin(Replies *r, uint32_t wanted);   /* -1 with a Python error where they cannot be awaited */
PyObject *hand_over(Replies *r, uint32_t wanted);
PyObject *malformed(const char *what);
PyObject *replies_exchange(PyObject *self, PyObject *args);

#endif
