/* Events of head and tail in one order, those that count, and what a window holds of them. */
#include "kernel.h"

#define SHORT 24

static int64_t floor_to(int64_t x, int64_t size)
{
    int64_t rest = x % size;
    return x - (rest < 0 ? rest + size : rest);
}

int64_t first_time(const window *w, int64_t t)
{
    if (w->lower == FOREVER) return FOREVER;
    return w->resolution ? floor_to(t - w->lower, w->resolution) : t - w->lower;
}

int64_t last_time(const window *w, int64_t t)
{
    if (!w->resolution || !w->upper) return t - w->upper;
    return floor_to(t - w->upper, w->resolution) - 1;
}

static uint32_t index_in_head(const head *h, int64_t ts)
{
    uint32_t low = 0, high = h->n;
    if (h->wide) {
        while (low < high) {
            uint32_t middle = low + (high - low) / 2;
            if (read_i64(h->times + 8 * (size_t)middle) < ts) low = middle + 1;
            else high = middle;
        }
        return low;
    }
    int64_t distance = ts - h->base;  /* neither is beyond 2^62 */
    if (distance <= 0) return 0;
    distance = (distance + h->unit - 1) / h->unit;
    if (distance > UINT32_MAX) return h->n;
    uint32_t wanted = (uint32_t)distance;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (read_u32(h->times + 4 * (size_t)middle) < wanted) low = middle + 1;
        else high = middle;
    }
    return low;
}

uint32_t index_of(const view *v, int64_t ts)
{
    uint32_t low = 0, high = v->n;
    if (!v->order) {
        low = index_in_head(&v->s->head, ts);
        if (low < v->s->head.n) return low;
    }
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (time_of(v->s, event_at(v, middle)) < ts) low = middle + 1;
        else high = middle;
    }
    return low;
}

/* Whether a record of the tail stands before an event of the head. Of one time and sequence the head's comes first. */
static int before(const record *r, const state *s, uint32_t i)
{
    int64_t ts = head_time(&s->head, i);
    return r->ts != ts ? r->ts < ts : r->sequence < sequence_of(s, i);
}

/* All events; `always`: as a list, even where the tail stands behind the head as it is. */
int in_order(work *w, const state *s, int always, view *out)
{
    uint32_t n = s->head.n, tail = s->count;
    *out = (view){s, NULL, n + tail};
    int overlaps = n && tail && before(&s->records[0], s, n - 1);
    if (!overlaps && !always) return 0;
    uint32_t *order = take(w, (size_t)n + tail + 1, sizeof(uint32_t)), at = 0, i = 0, j = 0;
    if (!order) return -1;
    while (i < n || j < tail) {
        if (overlaps && j < tail && (i == n || before(&s->records[j], s, i))) order[at++] = n + j++;
        else if (i < n) order[at++] = i++;
        else order[at++] = n + j++;
    }
    out->order = order;
    return 0;
}

static uint64_t id_of(const state *s, uint32_t event)
{
    if (event >= s->head.n) return s->records[event - s->head.n].id;
    return s->head.ids ? read_u64(s->head.ids + 8 * (size_t)event) : 0;
}

static int is_true(const layout *l, const state *s, int column, uint32_t event)
{
    if (event < s->head.n) {
        const packed *p = &s->head.columns[column];
        return p->code == C_BOOL && !(p->nulls && bit_at(p->nulls, event)) && bit_at(p->data, event);
    }
    const uint8_t *at = s->records[event - s->head.n].at;
    return !bit_at(at, (uint32_t)column) && at[l->places[column]] != 0;
}

typedef struct { uint64_t *ids; uint8_t *used; uint32_t size, count; } ids;

static int grow(work *w, ids *met, uint32_t count)
{
    for (met->size = 64; met->size < 2 * (uint64_t)count; met->size *= 2) {}
    met->ids = take(w, met->size, sizeof(uint64_t));
    met->used = take(w, met->size, 1);
    if (!met->ids || !met->used) return -1;
    memset(met->used, 0, met->size);
    return 0;
}

static int add_id(ids *met, uint64_t id)
{
    uint32_t at = (uint32_t)(id ^ id >> 32) & (met->size - 1);
    for (; met->used[at]; at = (at + 1) & (met->size - 1))
        if (met->ids[at] == id) return 0;
    met->used[at] = 1;
    met->ids[at] = id;
    return 1;
}

/* Of one time: the first of each id. Few are compared with each other, many are put into a table. */
static int first_of_each(work *w, const state *s, uint32_t *kept, uint32_t from, uint32_t *count)
{
    uint32_t end = *count, at = from;
    ids met = {0};
    if (end - from > SHORT && grow(w, &met, end - from) < 0) return -1;
    for (uint32_t i = from; i < end; i++) {
        uint64_t id = id_of(s, kept[i]);
        int is_new = 1;
        if (met.ids) is_new = add_id(&met, id);
        else
            for (uint32_t j = from; j < at && is_new; j++) is_new = id_of(s, kept[j]) != id;
        if (is_new) kept[at++] = kept[i];
    }
    *count = at;
    return 0;
}

/* The events that pass a WHERE (a column, or -1), each id and time once. */
int passing(work *w, const layout *l, const view *all, int where, view *out)
{
    const state *s = all->s;
    uint32_t *kept = take(w, (size_t)all->n + 1, sizeof(uint32_t)), count = 0, from = 0;
    if (!kept) return -1;
    int64_t time = 0;
    for (uint32_t i = 0; i < all->n; i++) {
        uint32_t event = event_at(all, i);
        if (where >= 0 && !is_true(l, s, where, event)) continue;
        int64_t ts = l->has_ids ? time_of(s, event) : 0;
        if (l->has_ids && count > from && ts != time) {
            if (count - from > 1 && first_of_each(w, s, kept, from, &count) < 0) return -1;
            from = count;
        }
        time = ts;
        kept[count++] = event;
    }
    if (l->has_ids && count - from > 1 && first_of_each(w, s, kept, from, &count) < 0) return -1;
    *out = (view){s, kept, count};
    return 0;
}
