/* Strings of a store's answer as they lie in the bytes that came: replies.c finds them, and states are read in place. */
#ifndef ONEFOLD_BULKS_H
#define ONEFOLD_BULKS_H

#include "kernel.h"

typedef struct { size_t at; int64_t size; } bulk;   /* size -1: none */

/* Bytes as they came. Where others hold it too, what is there neither changes nor moves. */
typedef struct {
    PyObject_HEAD
    uint8_t *bytes;
    bulk *bulks;
    size_t room, used, bulk_room, n_bulks;
} Buffer;

/* A sequence of bytes and Nones, none of which is made before it is asked for. */
typedef struct {
    PyObject_HEAD
    Buffer *buffer;
    size_t first;
    Py_ssize_t count;
} Bulks;

extern PyTypeObject BUFFER, BULKS, REPLIES;

Buffer *new_buffer(size_t room);
PyObject *bulks_of(Buffer *buffer, size_t first, Py_ssize_t count);

static inline int is_bulks(const PyObject *object) { return Py_IS_TYPE(object, &BULKS); }

static inline bulk bulk_of(const Bulks *b, Py_ssize_t i) { return b->buffer->bulks[b->first + (size_t)i]; }

#endif
