/* The distinct values of a lane: a table of the events that brought one. Its seed is drawn anew by each process, so that
   nobody can choose texts that fall in one place. */
#include "kernel.h"

#include <math.h>

static uint64_t mixed(uint64_t x)
{
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93u;
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93u;
    return x ^ x >> 32;
}

static uint64_t bits_of(double x)
{
    uint64_t bits;
    x = x != x ? (double)NAN : x + 0.0;  /* every NaN is one, and -0.0 is 0.0 */
    memcpy(&bits, &x, 8);
    return x != x ? 0x7ff8000000000000u : bits;
}

static uint64_t hash_text(span s, uint64_t seed)
{
    uint64_t hash = seed ^ s.size;
    uint32_t i = 0;
    for (; i + 8 <= s.size; i += 8) hash = mixed(hash ^ read_u64(s.at + i)) + seed;
    uint64_t rest = 0;
    if (s.size > i) memcpy(&rest, s.at + i, s.size - i);
    return mixed(hash ^ rest);
}

static uint64_t hash_of(const table *t, const lane *l, uint32_t event)
{
    uint32_t i = event - l->low;
    switch (l->kind) {
    case K_BOOL: return mixed(t->seed ^ l->x.b[i]);
    case K_DOUBLE: return mixed(t->seed ^ bits_of(l->x.d[i]));
    case K_WIDE: return mixed(mixed(t->seed ^ (uint64_t)l->x.w[i]) ^ (uint64_t)(l->x.w[i] >> 64));
    case K_TEXT: return hash_text(l->x.s[i], t->seed);
    default: return mixed(t->seed ^ (uint64_t)l->x.i[i]);
    }
}

static int is_same(const lane *l, uint32_t i, uint32_t j)
{
    i -= l->low;
    j -= l->low;
    switch (l->kind) {
    case K_BOOL: return l->x.b[i] == l->x.b[j];
    case K_DOUBLE: return bits_of(l->x.d[i]) == bits_of(l->x.d[j]);
    case K_WIDE: return l->x.w[i] == l->x.w[j];
    case K_TEXT: return l->x.s[i].size == l->x.s[j].size && !memcmp(l->x.s[i].at, l->x.s[j].at, l->x.s[i].size);
    default: return l->x.i[i] == l->x.i[j];
    }
}

static int grow(work *w, table *t, const lane *l)
{
    table old = *t;
    t->size = old.size ? 4 * old.size : 64;
    t->places = take(w, t->size, sizeof(uint32_t));
    if (!t->places) return -1;
    memset(t->places, 0, t->size * sizeof(uint32_t));
    for (uint32_t i = 0; i < old.size; i++) {
        if (!old.places[i]) continue;
        uint32_t at = (uint32_t)hash_of(t, l, old.places[i] - 1) & (t->size - 1);
        while (t->places[at]) at = (at + 1) & (t->size - 1);
        t->places[at] = old.places[i];
    }
    return 0;
}

/* 1 for a value that was not met before, 0 for one that was, -1 for an error. */
int add_distinct(work *w, table *t, const lane *l, uint32_t event)
{
    if (2 * (t->used + 1) > t->size && grow(w, t, l) < 0) return -1;
    uint32_t at = (uint32_t)hash_of(t, l, event) & (t->size - 1);
    for (; t->places[at]; at = (at + 1) & (t->size - 1))
        if (is_same(l, t->places[at] - 1, event)) return 0;
    t->places[at] = event + 1;
    t->used++;
    return 1;
}
