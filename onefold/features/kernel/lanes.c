/* Columns of a view, unpacked: the events of a range, in order, from the head's packed columns and the tail's records. */
#include "kernel.h"

static size_t width_of(uint8_t kind)
{
    switch (kind) {
    case K_BOOL: return 1;
    case K_WIDE: return sizeof(i128);
    case K_TEXT: case K_LIST: return sizeof(span);
    default: return 8;
    }
}

static int some_null(work *w, lane *out)
{
    if (out->nulls) return 0;
    out->nulls = take(w, (size_t)(out->high - out->low) + 1, 1);
    if (!out->nulls) return -1;
    memset(out->nulls, 0, out->high - out->low);
    return 0;
}

/* A text of the head; an end may lie anywhere in corrupt bytes, and what is cut off is left out, as slices do. */
static span text_in(const packed *p, uint32_t n, uint32_t i)
{
    uint32_t size = p->size - 4 * n, from = i ? read_u32(p->data + 4 * (size_t)(i - 1)) : 0;
    uint32_t to = read_u32(p->data + 4 * (size_t)i);
    from = from < size ? from : size;
    to = to < size ? to : size;
    return (span){p->data + 4 * (size_t)n + from, to > from ? to - from : 0};
}

/* One value of the head at `at` of the lane; it is not NULL. */
static int put_packed(work *w, const packed *p, uint32_t n, uint32_t i, lane *out, uint32_t at)
{
    const uint8_t *data = p->data;
    switch (p->code) {
    case C_BOOL: out->x.b[at] = (uint8_t)bit_at(data, i); break;
    case C_F64: out->x.d[at] = read_f64(data + 8 * (size_t)i); break;
    case C_CENTS: out->x.d[at] = read_i32(data + 4 * (size_t)i) / 100.0; break;
    case C_I32:
        if (out->kind == K_WIDE) out->x.w[at] = read_i32(data + 4 * (size_t)i);
        else out->x.i[at] = read_i32(data + 4 * (size_t)i);
        break;
    case C_I64:
        if (out->kind == K_WIDE) out->x.w[at] = read_i64(data + 8 * (size_t)i);
        else out->x.i[at] = read_i64(data + 8 * (size_t)i);
        break;
    case C_I128: out->x.w[at] = read_i128(data + 16 * (size_t)i); break;
    case C_TEXT:
        out->x.s[at] = text_in(p, n, i);
        return check_text(w, out->x.s[at].at, out->x.s[at].size);
    default: out->x.s[at] = (span){0};
    }
    return 0;
}

/* Events `from` to `to` of the head, which stand in the lane from `at` on. */
static int fill_run(work *w, const packed *p, uint32_t n, uint32_t from, uint32_t to, lane *out, uint32_t at)
{
    const uint8_t *data = p->data;
    uint32_t count = to - from;
    if (p->code == NO_VALUES) {
        if (some_null(w, out) < 0) return -1;
        memset(out->nulls + at, 1, count);
        return 0;
    }
    if (p->nulls) {
        if (some_null(w, out) < 0) return -1;
        for (uint32_t i = 0; i < count; i++) out->nulls[at + i] = (uint8_t)bit_at(p->nulls, from + i);
    }
    out->ordinary &= p->code == C_CENTS;
    if (p->code == C_F64) {
        memcpy(out->x.d + at, data + 8 * (size_t)from, 8 * (size_t)count);
        return 0;
    }
    if (p->code == C_CENTS) {
        unpack_cents(data + 4 * (size_t)from, count, out->x.d + at);
        return 0;
    }
    for (uint32_t i = 0; i < count; i++)
        if (put_packed(w, p, n, from + i, out, at + i) < 0) return -1;
    return 0;
}

int unpack_lane(work *w, const packed *p, uint32_t n, lane *out)
{
    out->low = 0;
    out->high = n;
    out->nulls = NULL;
    out->x.b = take(w, (size_t)n + 1, width_of(out->kind));
    return out->x.b ? fill_run(w, p, n, 0, n, out, 0) : -1;
}

static int put_recorded(work *w, const layout *l, const record *r, int column, lane *out, uint32_t at)
{
    const uint8_t *place = r->at + l->places[column];
    int null = bit_at(r->at, (uint32_t)column);
    switch (out->kind) {
    case K_BOOL: out->x.b[at] = *place != 0; break;
    case K_INT: out->x.i[at] = read_i64(place); break;
    case K_DOUBLE:
        out->x.d[at] = read_f64(place);
        out->ordinary &= is_ordinary(out->x.d[at]);
        break;
    case K_WIDE: out->x.w[at] = read_i128(place); break;
    default: out->x.s[at] = r->texts[l->places[column]]; null |= out->kind == K_LIST && !out->x.s[at].size;
    }
    if (!null) return 0;
    if (some_null(w, out) < 0) return -1;
    out->nulls[at] = 1;
    return 0;
}

/* The events from `i` on that stand in the head as they stand in the view: one behind the last of them. */
static uint32_t end_of_run(const view *v, uint32_t i, uint32_t high)
{
    uint32_t first = v->order[i], end = i + 1;
    while (end < high && v->order[end] == first + (end - i) && v->order[end] < v->s->head.n) end++;
    return end;
}

/* Of events that were put in order: run by run. */
static int fill_any(work *w, const layout *l, const view *v, int column, lane *out)
{
    const state *s = v->s;
    for (uint32_t i = out->low; i < out->high;) {
        uint32_t event = v->order[i], at = i - out->low, end = i + 1;
        int done;
        if (event >= s->head.n) done = put_recorded(w, l, &s->records[event - s->head.n], column, out, at);
        else {
            end = end_of_run(v, i, out->high);
            done = fill_run(w, &s->head.columns[column], s->head.n, event, event + (end - i), out, at);
        }
        if (done < 0) return -1;
        i = end;
    }
    return 0;
}

static void fill_times(const view *v, lane *out)
{
    for (uint32_t i = out->low; i < out->high; i++) out->x.i[i - out->low] = time_of(v->s, event_at(v, i));
}

/* The events `low` to `high` of a view, which the lane says; column -1 is the time. */
int fill_lane(work *w, const layout *l, const view *v, int column, lane *out)
{
    uint32_t n = v->s->head.n, count = out->high - out->low;
    out->kind = column < 0 ? K_INT : l->types[column].kind;
    out->nulls = NULL;
    out->x.b = take(w, (size_t)count + 1, width_of(out->kind));
    if (!out->x.b) return -1;
    if (column < 0) {
        fill_times(v, out);
        return 0;
    }
    out->ordinary = out->kind == K_DOUBLE;
    if (v->order) return fill_any(w, l, v, column, out);
    uint32_t end = out->high < n ? out->high : n;
    if (out->low < end && fill_run(w, &v->s->head.columns[column], n, out->low, end, out, 0) < 0) return -1;
    for (uint32_t i = out->low > end ? out->low : end; i < out->high; i++)
        if (put_recorded(w, l, &v->s->records[i - n], column, out, i - out->low) < 0) return -1;
    return 0;
}
