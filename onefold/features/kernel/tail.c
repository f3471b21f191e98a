/* The tail of a state: records without copies, in order of (ts, sequence, offset). */
#include "kernel.h"

#define RECORD 0x52
#define NULLS_AT 29
#define FEW 16

/* Sequences by number, where there are many; else they are looked for one by one. */
typedef struct { uint32_t *places; uint32_t size; } index_table;

static uint32_t spread(uint32_t x)
{
    x ^= x >> 16;
    x *= 0x7feb352du;
    x ^= x >> 15;
    x *= 0x846ca68bu;
    return x ^ x >> 16;
}

static void put(index_table *t, uint32_t sequence, uint32_t number)
{
    uint32_t at = spread(sequence) & (t->size - 1);
    while (t->places[at]) at = (at + 1) & (t->size - 1);
    t->places[at] = number + 1;
}

static int64_t find(const index_table *t, const state *s, uint32_t sequence)
{
    if (!t->places) {
        for (uint32_t i = 0; i < s->n_offsets; i++)
            if (s->offsets[i].sequence == sequence) return i;
        return -1;
    }
    for (uint32_t at = spread(sequence) & (t->size - 1); t->places[at]; at = (at + 1) & (t->size - 1))
        if (s->offsets[t->places[at] - 1].sequence == sequence) return t->places[at] - 1;
    return -1;
}

/* Room for `more` sequences, each once; of one that the head names twice the last counts. */
static int prepare(work *w, state *s, uint32_t more, index_table *t)
{
    offset *old = s->offsets;
    uint32_t given = s->n_offsets;
    *t = (index_table){NULL, 0};
    s->offsets = take(w, (size_t)given + more + 1, sizeof(offset));
    if (!s->offsets) return -1;
    if ((uint64_t)given + more > FEW) {
        for (t->size = 64; t->size < 2 * ((uint64_t)given + more); t->size *= 2) {}
        t->places = take(w, t->size, sizeof(uint32_t));
        if (!t->places) return -1;
        memset(t->places, 0, t->size * sizeof(uint32_t));
    }
    s->n_offsets = 0;
    for (uint32_t i = 0; i < given; i++) {
        int64_t at = find(t, s, old[i].sequence);
        if (at >= 0) {
            s->offsets[at] = old[i];
            continue;
        }
        if (t->places) put(t, old[i].sequence, s->n_offsets);
        s->offsets[s->n_offsets++] = old[i];
    }
    return 0;
}

/* Whether a record is no copy; its offset is then the highest of its sequence. */
static int is_fresh(state *s, index_table *t, const record *r, int64_t *last)
{
    if (*last < 0 || s->offsets[*last].sequence != r->sequence) *last = find(t, s, r->sequence);
    if (*last < 0) {
        if (r->offset <= -1) return 0;
        *last = s->n_offsets++;
        s->offsets[*last] = (offset){r->sequence, r->offset};
        if (t->places) put(t, r->sequence, (uint32_t)*last);
        return 1;
    }
    if (r->offset <= s->offsets[*last].highest) return 0;
    s->offsets[*last].highest = r->offset;
    return 1;
}

static int compare(const void *a, const void *b)
{
    const record *x = a, *y = b;
    if (x->ts != y->ts) return x->ts < y->ts ? -1 : 1;
    if (x->sequence != y->sequence) return x->sequence < y->sequence ? -1 : 1;
    if (x->offset != y->offset) return x->offset < y->offset ? -1 : 1;
    return x->place < y->place ? -1 : 1;
}

static void sort(state *s)
{
    for (uint32_t i = 1; i < s->count; i++)
        if (compare(&s->records[i - 1], &s->records[i]) > 0) {
            qsort(s->records, s->count, sizeof(record), compare);
            return;
        }
}

/* Its texts and lists, which stand behind what is fixed. */
static int read_texts(work *w, const layout *l, const uint8_t *bytes, size_t *at, size_t length, span *texts)
{
    uint32_t number = 0;
    for (uint32_t i = 0; i < l->width; i++) {
        const type *t = &l->types[i];
        if (t->kind != K_TEXT && t->kind != K_LIST) continue;
        if (length - *at < 4) return corrupt(w, "a record of the tail is cut off");
        uint32_t size = read_u32(bytes + *at);
        *at += 4;
        if (length - *at < size) return corrupt(w, "a record of the tail is cut off in a text");
        if ((t->kind == K_TEXT ? check_text(w, bytes + *at, size) : check_items(w, t, bytes + *at, size)) < 0) return -1;
        texts[number++] = (span){bytes + *at, size};
        *at += size;
    }
    return 0;
}

static int read_record(work *w, const layout *l, const uint8_t *bytes, size_t *at, size_t length, span *texts, record *r)
{
    const uint8_t *p = bytes + *at;
    if (length - *at < l->fixed) return corrupt(w, "a record of the tail is cut off (%zu bytes are left)", length - *at);
    if (p[0] != RECORD) return corrupt(w, "a record of the tail does not begin with byte %d", RECORD);
    r->sequence = read_u32(p + 1);
    r->offset = read_i64(p + 5);
    r->ts = read_i64(p + 13);
    r->id = read_u64(p + 21);
    if (r->ts > MOST_TIME || r->ts < -MOST_TIME)
        return corrupt(w, "a record of the tail has the time %lld, outside all years", (long long)r->ts);
    r->at = p + NULLS_AT;
    r->texts = texts;
    if (l->width % 8 && r->at[l->null_bytes - 1] >> l->width % 8)
        return corrupt(w, "a record of the tail has %u columns, and says that another is NULL", l->width);
    *at += l->fixed;
    return l->varying ? read_texts(w, l, bytes, at, length, texts) : 0;
}

/* The records behind the head; the offsets of the state are brought forward. */
int read_tail(work *w, const layout *l, const uint8_t *bytes, size_t length, state *s)
{
    size_t at = s->head.length, most = (length - at) / (l->fixed + 4 * (size_t)l->varying);
    index_table table;
    int64_t last = -1;
    s->count = 0;
    if (prepare(w, s, (uint32_t)most, &table) < 0) return -1;
    if (at == length) return 0;
    span *texts = l->varying ? take(w, most + 1, l->varying * sizeof(span)) : NULL;
    s->records = take(w, most + 1, sizeof(record));
    if (!s->records || (l->varying && !texts)) return -1;
    for (uint32_t place = 0; at < length; place++) {
        record *r = &s->records[s->count];
        if (read_record(w, l, bytes, &at, length, texts ? texts + (size_t)place * l->varying : NULL, r) < 0) return -1;
        r->place = place;
        s->count += (uint32_t)is_fresh(s, &table, r, &last);
    }
    sort(s);
    return 0;
}
