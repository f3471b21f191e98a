/* Entries of buckets, folded into what was folded of events; see `bucket_reading.py`. */
#include "kernel.h"

static void add_whole(big *sum, const whole *w, uint32_t i)
{
    uint8_t bytes[8 * LIMBS];
    big b;
    if (!w->width) return;
    const uint8_t *digits = w->digits + (size_t)i * w->width;
    memset(bytes, digits[w->width - 1] & 0x80 ? 0xff : 0, sizeof bytes);
    memset(bytes, 0, w->zeros);
    memcpy(bytes + w->zeros, digits, w->width);
    memcpy(b.limb, bytes, sizeof bytes);
    big_add(sum, &b);
}

static int is_null(const lane *l, uint32_t i) { return l->nulls && l->nulls[i]; }

static void add_extreme(acc *a, const lane *key, const lane *present, uint32_t start, uint32_t end, int greatest)
{
    for (uint32_t i = end; i-- > start;) {
        if (is_null(key, i) || is_null(present, i)) continue;
        if (a->entry >= 0) {
            uint32_t best = (uint32_t)a->entry;
            if (greatest ? is_less(key, i, key, best) : is_less(key, best, key, i)) continue;
        }
        a->entry = i;
    }
}

static void add_end(acc *a, const entries *e, uint32_t start, uint32_t end, int last)
{
    for (uint32_t i = end; i-- > start;)
        if (!is_null(&e->after, i) && (!last || a->entry < 0)) a->entry = i;
}

static void add_sums(const entries *e, acc *a, uint32_t start, uint32_t end, uint8_t kind)
{
    a->total.has_more = 1;
    for (uint32_t i = start; i < end; i++) {
        add_whole(&a->total.more, &e->total, i);
        a->n = (int64_t)((uint64_t)a->n + (uint64_t)e->n[i]);
        if (kind != P_SUM) a->flags |= (int)e->flags[i];
        if (kind == P_SQUARES) add_whole(&a->squares, &e->squares, i);
    }
}

static void add_booleans(const entries *e, acc *a, uint32_t start, uint32_t end, int all)
{
    for (uint32_t i = start; i < end; i++) {
        if (is_null(&e->x, i)) continue;
        int value = e->x.x.b[i];
        a->held = a->held < 0 ? value : all ? a->held && value : a->held || value;
    }
}

/* Entries that stand before all that were met. */
void fold_entries(const slot *s, const part *p, const entries *e, acc *a, uint32_t start, uint32_t end)
{
    int greatest = s->function == F_MAX || s->function == F_MAX_BY;
    switch (p->kind) {
    case P_COUNT:
        for (uint32_t i = start; i < end; i++) a->n = (int64_t)((uint64_t)a->n + (uint64_t)e->n[i]);
        break;
    case P_SUM: case P_DOUBLES: case P_SQUARES: add_sums(e, a, start, end, p->kind); break;
    case P_END: add_end(a, e, start, end, s->function == F_LAST); break;
    case P_BY: add_extreme(a, &e->y, &e->after, start, end, greatest); break;
    case P_PLAIN:
        if (s->function == F_AND || s->function == F_OR) add_booleans(e, a, start, end, s->function == F_AND);
        else add_extreme(a, &e->x, &e->x, start, end, greatest);
    }
}

/* Whether the event that stands for an entry comes before one of the view; of one place the entry does. */
static int comes_first(const reading *r, const slot *s, const entries *e, uint32_t entry, uint32_t event)
{
    const view *v = &r->views[s->view];
    int64_t ts = r->buckets->starts[entry] + e->after.x.i[entry], other = time_of(v->s, event_at(v, event));
    return ts != other ? ts < other : e->sequence[entry] <= (int64_t)sequence_of(v->s, event_at(v, event));
}

/* Whether the value is that of the best entry, and not of the best event. */
int takes_entry(const reading *r, const slot *s, const acc *a)
{
    if (a->entry < 0 || a->best < 0) return a->entry >= 0;
    const entries *e = &r->buckets->parts[s->part];
    uint32_t entry = (uint32_t)a->entry, event = (uint32_t)a->best;
    int ordered = s->function >= F_MIN_BY;
    int first = ordered ? comes_first(r, s, e, entry, event) : 1;
    if (s->function == F_FIRST) return first;
    if (s->function == F_LAST) return !first;
    const lane *own = s->other >= 0 ? &r->lanes[s->other] : &r->lanes[s->arg], *theirs = s->other >= 0 ? &e->y : &e->x;
    int greatest = s->function == F_MAX || s->function == F_MAX_BY;
    event -= own->low;
    lane events = *own;
    events.low = 0;
    if (greatest ? is_less(&events, event, theirs, entry) : is_less(theirs, entry, &events, event)) return 1;
    if (greatest ? is_less(theirs, entry, &events, event) : is_less(&events, event, theirs, entry)) return 0;
    return first;
}
