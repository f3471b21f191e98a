/* Strings of a store's answer as they lie in the bytes that came: resp.c finds them, and states are read in place. */
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
/* Room for so many bytes, or strings, in a buffer that nobody else holds; 0 where there is no memory. */
int widen(Buffer *b, size_t room);
int fit_bulks(Buffer *b, size_t count);
PyObject *bulks_of(Buffer *buffer, size_t first, Py_ssize_t count);

static inline int is_bulks(const PyObject *object) { return Py_IS_TYPE(object, &BULKS); }

static inline bulk bulk_of(const Bulks *b, Py_ssize_t i) { return b->buffer->bulks[b->first + (size_t)i]; }

#endif
