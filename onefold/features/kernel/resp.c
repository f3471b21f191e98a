/* Replies in Redis' protocol (RESP2), found in the bytes that came without a copy of each string. */
#include "replies.h"

#define LONGEST_NUMBER 18

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
    if (b->n_bulks == b->bulk_room && (Py_REFCNT(b) > 1 || !fit_bulks(b, b->n_bulks + 1))) return 0;
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

int find_replies(Replies *r, uint32_t wanted)
{
    int found = DONE;
    while (r->done < wanted && found == DONE) found = take_one(r);
    return r->done == wanted ? DONE : found;
}
