/* Memory that lives as long as one state is read, and words on what is wrong with it. */
#include "kernel.h"

#define LEAST ((size_t)1 << 16)

void *take(work *w, size_t count, size_t size)
{
    if (size && count > ((size_t)1 << 40) / size) return PyErr_NoMemory();
    size_t need = (count * size + 15) & ~(size_t)15;
    if (!w->first || w->first->size - w->used < need) {
        size_t room = w->first ? 2 * w->first->size : LEAST;
        if (room < need) room = need;
        block *b = PyMem_Malloc(sizeof(block) + 16 + room);
        if (!b) return PyErr_NoMemory();
        b->next = w->first;
        b->size = room;
        w->first = b;
        w->used = 0;
    }
    char *start = (char *)(((uintptr_t)(w->first + 1) + 15) & ~(uintptr_t)15);
    void *found = start + w->used;
    w->used += need;
    return found;
}

static void free_all(block *b)
{
    while (b) {
        block *next = b->next;
        PyMem_Free(b);
        b = next;
    }
}

/* The newest block is the largest; it stays for the next state unless it is huge. */
void clear_work(work *w)
{
    if (!w->first) return;
    free_all(w->first->next);
    w->first->next = NULL;
    w->used = 0;
    if (w->first->size > LEAST << 8) free_work(w);
}

void free_work(work *w)
{
    free_all(w->first);
    w->first = NULL;
    w->used = 0;
}

int corrupt(work *w, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    vsnprintf(w->error, sizeof w->error, format, values);
    va_end(values);
    return -1;
}
