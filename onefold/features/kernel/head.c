/* The head of a state: where its parts begin, every length checked before it is believed. */
#include "kernel.h"

#define HEAD 0x48
#define RECORD 0x52
#define FORMAT 1
#define FIXED 30
#define HAS_SEQUENCES 1
#define HAS_IDS 2

static const int64_t UNITS[] = {1, 1000000, 1000, 1};

static int is_of(const type *t, uint8_t code)
{
    switch (t->kind) {
    case K_BOOL: return code == C_BOOL;
    case K_DOUBLE: return code == C_F64 || code == C_CENTS;
    case K_TEXT: return code == C_TEXT;
    case K_LIST: return code == C_LIST;
    case K_WIDE: return code == C_I64 || code == C_I32 || code == C_I128;
    default: return code == C_I64 || code == C_I32;
    }
}

static uint64_t width_of(uint8_t code)
{
    return code == C_I128 ? 16 : code == C_I32 || code == C_CENTS ? 4 : 8;
}

/* Whether a column of this type and encoding has this many bytes for n values. */
int fits(const type *t, uint8_t encoding, uint64_t n, uint64_t size)
{
    uint8_t code = encoding & 0x7f;
    if (code == NO_VALUES) return size == 0;
    if (!is_of(t, code)) return 0;
    uint64_t bits = (n + 7) / 8;
    if (encoding & SOME_NULL) {
        if (size < bits) return 0;
        size -= bits;
    }
    if (code == C_TEXT) return size >= 4 * n;
    if (code == C_LIST) return size >= 4 * n + 5;
    return size == (code == C_BOOL ? bits : n * width_of(code));
}

packed unpacked(uint8_t encoding, const uint8_t *payload, uint32_t size, uint32_t n)
{
    packed p = {encoding & 0x7f, NULL, payload, size};
    if (encoding & SOME_NULL && p.code != NO_VALUES) {
        uint32_t bits = n / 8 + (n % 8 != 0);
        p.nulls = payload;
        p.data += bits;
        p.size -= bits;
    }
    return p;
}

static int read_columns(work *w, const layout *l, const uint8_t *bytes, size_t *at, size_t length, head *h)
{
    for (uint32_t i = 0; i < l->width; i++) {
        if (length - *at < 5) return corrupt(w, "the head of a state is cut off in column %u", i);
        uint8_t encoding = bytes[*at];
        uint32_t size = read_u32(bytes + *at + 1);
        *at += 5;
        if (length - *at < size || !fits(&l->types[i], encoding, h->n, size))
            return corrupt(w, "column %u of a head has %u bytes of encoding %u for %u events", i, size, encoding, h->n);
        h->columns[i] = unpacked(encoding, bytes + *at, size, h->n);
        *at += size;
    }
    return 0;
}

static int read_times(work *w, const uint8_t *bytes, size_t *at, size_t length, head *h)
{
    if (length - *at < 9) return corrupt(w, "the head of a state is cut off before its times");
    uint8_t code = bytes[*at];
    h->base = read_i64(bytes + *at + 1);
    *at += 9;
    if (code > 3 || h->base > MOST_TIME || h->base < -MOST_TIME || (code == 0 && h->base))
        return corrupt(w, "the times of a head have unit %u after %lld", code, (long long)h->base);
    h->wide = code == 0;
    h->unit = UNITS[code];
    size_t size = (size_t)h->n * (h->wide ? 8 : 4);
    if (length - *at < size) return corrupt(w, "the times of a head of %u events are cut off", h->n);
    h->times = bytes + *at;
    *at += size;
    return 0;
}

static int read_positions(work *w, unsigned flags, const uint8_t *bytes, size_t *at, size_t length, head *h)
{
    size_t size = flags & HAS_SEQUENCES ? 4 * (size_t)h->n : 4;
    size_t ids = flags & HAS_IDS ? 8 * (size_t)h->n : 0;
    if (length - *at < size + ids) return corrupt(w, "the sequences or ids of a head of %u events are cut off", h->n);
    h->sequences = flags & HAS_SEQUENCES ? bytes + *at : NULL;
    h->one_sequence = flags & HAS_SEQUENCES ? 0 : read_u32(bytes + *at);
    *at += size;
    h->ids = ids ? bytes + *at : NULL;
    *at += ids;
    return 0;
}

/* The key, which is passed over, and the section of buckets. */
static int read_section(work *w, const uint8_t *bytes, size_t *at, size_t length, head *h)
{
    if (length - *at < 2) return corrupt(w, "the head of a state is cut off before its key");
    size_t key = read_u16(bytes + *at);
    *at += 2;
    if (length - *at < key + 4) return corrupt(w, "the key in a head is cut off");
    *at += key;
    h->section.size = read_u32(bytes + *at);
    *at += 4;
    h->section.at = bytes + *at;
    if (length - *at < h->section.size) return corrupt(w, "the buckets of a head are cut off");
    *at += h->section.size;
    return 0;
}

static int read_offsets(work *w, const uint8_t *bytes, size_t *at, size_t length, uint32_t count, state *s)
{
    if (length - *at < 12 * (size_t)count) return corrupt(w, "the offsets of a head are cut off");
    s->offsets = take(w, (size_t)count + 1, sizeof(offset));
    if (!s->offsets) return -1;
    for (uint32_t i = 0; i < count; i++, *at += 12)
        s->offsets[i] = (offset){read_u32(bytes + *at), read_i64(bytes + *at + 4)};
    s->n_offsets = count;
    return 0;
}

/* The head of a state; an empty one where it has only a tail. */
int read_head(work *w, const layout *l, const uint8_t *bytes, size_t length, state *s)
{
    head *h = &s->head;
    *h = (head){.floor = INT64_MIN, .unit = 1};
    h->columns = take(w, (size_t)l->width + 1, sizeof(packed));
    if (!h->columns) return -1;
    memset(h->columns, 0, l->width * sizeof(packed));
    if (bytes[0] == RECORD) return read_offsets(w, bytes, &(size_t){0}, length, 0, s);
    if (length < FIXED) return corrupt(w, "the head of a state of %zu bytes cannot be read", length);
    if (bytes[0] != HEAD || bytes[1] != FORMAT)
        return corrupt(w, "a state begins with bytes %u, %u; a head of format %d begins with %d, %d", bytes[0], bytes[1],
                       FORMAT, HEAD, FORMAT);
    unsigned flags = read_u16(bytes + 2);
    h->length = read_u32(bytes + 4);
    h->floor = read_i64(bytes + 16);
    h->n = read_u32(bytes + 24);
    if (h->length > length) return corrupt(w, "a head of %u bytes is cut off after %zu", h->length, length);
    size_t at = FIXED;
    if (h->length < FIXED) return corrupt(w, "a head says that it has %u bytes", h->length);
    if (read_offsets(w, bytes, &at, h->length, read_u16(bytes + 28), s) < 0) return -1;
    if (read_section(w, bytes, &at, h->length, h) < 0) return -1;
    if (read_times(w, bytes, &at, h->length, h) < 0) return -1;
    if (read_positions(w, flags, bytes, &at, h->length, h) < 0) return -1;
    if (read_columns(w, l, bytes, &at, h->length, h) < 0) return -1;
    if (at != h->length)
        return corrupt(w, "a head of %u bytes ends at byte %zu; it was written by another layout, or is corrupt", h->length, at);
    return 0;
}
