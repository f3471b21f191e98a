/* The section of a head that holds one entry for each bucket of events that were folded; see `buckets.py`. */
#include "kernel.h"

#define SECTION 36
#define MOST_BYTES 32
#define MOST_FLAGS 15
#define FIRST_TIME (-62135596800000000)
#define LAST_TIME 253402300799999999

typedef struct { work *w; const uint8_t *at, *end; uint32_t n; } cursor;

static const type INTEGER = {.kind = K_INT}, INTEGERS = {.kind = K_LIST, .item = K_INT};

static int read_packed(cursor *c, const type *t, packed *out)
{
    if (c->end - c->at < 5) return corrupt(c->w, "the buckets of a state are cut off");
    uint8_t encoding = c->at[0];
    uint32_t size = read_u32(c->at + 1);
    c->at += 5;
    if ((size_t)(c->end - c->at) < size || !fits(t, encoding, c->n, size))
        return corrupt(c->w, "a column of buckets has %u bytes of encoding %u for %u entries", size, encoding, c->n);
    *out = unpacked(encoding, c->at, size, c->n);
    c->at += size;
    return 0;
}

/* Values that may be NULL; passed over where no slot asks for them. */
static int read_values(cursor *c, const type *t, int wanted, lane *out)
{
    packed p;
    if (read_packed(c, t, &p) < 0) return -1;
    *out = (lane){.high = c->n, .kind = t->kind};
    return wanted ? unpack_lane(c->w, &p, c->n, out) : 0;
}

/* Whole numbers; sparse: 0 where one is NULL. */
static int read_numbers(cursor *c, int sparse, int64_t **out)
{
    packed p;
    lane l = {.high = c->n, .kind = K_INT};
    if (read_packed(c, &INTEGER, &p) < 0) return -1;
    /* So a count of entries never asks for more memory than their starts have bytes. */
    if (c->n && p.code == NO_VALUES && !sparse) return corrupt(c->w, "a column of buckets lacks values");
    if (unpack_lane(c->w, &p, c->n, &l) < 0) return -1;
    *out = l.x.i;
    for (uint32_t i = 0; l.nulls && i < c->n; i++) {
        if (!l.nulls[i]) continue;
        if (!sparse) return corrupt(c->w, "a column of buckets lacks values");
        l.x.i[i] = 0;
    }
    return 0;
}

static int read_flags(cursor *c, int64_t **out)
{
    if (read_numbers(c, 1, out) < 0) return -1;
    for (uint32_t i = 0; i < c->n; i++)
        if ((*out)[i] < 0 || (*out)[i] > MOST_FLAGS) return corrupt(c->w, "an entry of a bucket has flags that are none");
    return 0;
}

static int read_whole(cursor *c, whole *out)
{
    if (c->end - c->at < 2) return corrupt(c->w, "the buckets of a state are cut off");
    *out = (whole){c->at + 2, c->at[0], c->at[1]};
    c->at += 2;
    if (out->width + out->zeros > MOST_BYTES || (size_t)(c->end - c->at) / (out->width ? out->width : 1u) < (out->width ? c->n : 0))
        return corrupt(c->w, "%u whole numbers of %u bytes are cut off, or too large", c->n, out->width);
    c->at += (size_t)c->n * out->width;
    return 0;
}

/* The time of the event that stands for a bucket, after its begin; NULL where there is none. */
static int read_places(cursor *c, int64_t size, entries *e)
{
    if (read_values(c, &INTEGER, 1, &e->after) < 0 || read_numbers(c, 1, &e->sequence) < 0) return -1;
    for (uint32_t i = 0; i < c->n; i++)
        if (!(e->after.nulls && e->after.nulls[i]) && (e->after.x.i[i] < 0 || e->after.x.i[i] >= size))
            return corrupt(c->w, "an entry of a bucket lies outside of it");
    return 0;
}

static int read_part(cursor *c, const part *p, int64_t size, entries *e)
{
    packed skipped;
    switch (p->kind) {
    case P_COUNT: return read_numbers(c, 0, &e->n);
    case P_SUM: return read_whole(c, &e->total) < 0 || read_numbers(c, 0, &e->n) < 0 ? -1 : 0;
    case P_DOUBLES: return read_whole(c, &e->total) < 0 || read_numbers(c, 0, &e->n) < 0 || read_flags(c, &e->flags) < 0 ? -1 : 0;
    case P_SQUARES:
        if (read_whole(c, &e->total) < 0 || read_numbers(c, 0, &e->n) < 0 || read_flags(c, &e->flags) < 0) return -1;
        return read_whole(c, &e->squares);
    case P_LISTS: return read_packed(c, &INTEGERS, &skipped);
    case P_PLAIN: return read_values(c, &p->x, p->wanted, &e->x);
    }
    if (read_places(c, size, e) < 0 || read_values(c, &p->x, p->wanted, &e->x) < 0) return -1;
    return p->kind == P_BY ? read_values(c, &p->y, p->wanted, &e->y) : 0;
}

static int read_starts(cursor *c, int64_t first, int64_t size, buckets *b)
{
    if (read_numbers(c, 0, &b->starts) < 0) return -1;
    i128 latest = (i128)FIRST_TIME - size;
    for (uint32_t i = 0; i < c->n; i++) {
        i128 start = ((i128)first + b->starts[i]) * size;
        if (start <= latest || start > LAST_TIME || start + size > b->before)
            return corrupt(c->w, "the %u buckets of a state are out of order, or outside all years", c->n);
        b->starts[i] = (int64_t)start;
        latest = start;
    }
    return 0;
}

int read_buckets(work *w, const plan *p, const state *s, buckets *b)
{
    cursor c = {w, s->head.section.at, s->head.section.at + s->head.section.size, 0};
    if (!p->resolution) return corrupt(w, "a head has folded events, which its layout has not");
    if (s->head.section.size < SECTION) return corrupt(w, "the buckets of a state are cut off");
    int64_t size = read_i64(c.at), first = read_i64(c.at + 28);
    b->before = read_i64(c.at + 8);
    b->newest = read_i64(c.at + 16);
    b->n = c.n = read_u32(c.at + 24);
    c.at += SECTION;
    if (size != p->resolution)
        return corrupt(w, "the buckets of a state are %lld us long, those of its layout %lld", (long long)size,
                       (long long)p->resolution);
    if (b->before % size || b->before > MOST_TIME || b->before < -MOST_TIME || read_starts(&c, first, size, b) < 0)
        return w->error[0] ? -1 : corrupt(w, "buckets end at no bucket's end");
    b->parts = take(w, (size_t)p->n_parts + 1, sizeof(entries));
    if (!b->parts) return -1;
    memset(b->parts, 0, p->n_parts * sizeof(entries));
    for (uint32_t i = 0; i < p->n_parts; i++)
        if (read_part(&c, &p->parts[i], size, &b->parts[i]) < 0) return -1;
    int64_t last = b->n ? b->starts[b->n - 1] : 0;
    if (c.at != c.end || (b->n && (b->newest < last || b->newest >= last + size)))
        return corrupt(w, "the buckets of a state are of another layout, or corrupt");
    return 0;
}

/* The first bucket that begins at ts or later. */
uint32_t bucket_of(const buckets *b, int64_t ts)
{
    uint32_t low = 0, high = b->n;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (b->starts[middle] < ts) low = middle + 1;
        else high = middle;
    }
    return low;
}

/* The time of the newest folded event at t, or of the begin of its bucket; INT64_MIN where there is none. */
int64_t newest_in(const buckets *b, int64_t t)
{
    if (t >= b->before - 1) return b->n ? b->newest : INT64_MIN;
    uint32_t at = bucket_of(b, t + 1);
    return at ? b->starts[at - 1] : INT64_MIN;
}
