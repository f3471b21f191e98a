/* The native kernel: it reads states as `onefold/features/fold.py` does, to the same bits.

   A call goes: head.c and tail.c find what is where in the bytes, timeline.c puts events in order and finds the windows'
   bounds, lanes.c unpacks the columns that are asked for, folds.c goes over them, finish.c makes the values.
   What `docs/state.md` says of the bytes is not said again here. */
#ifndef ONEFOLD_KERNEL_H
#define ONEFOLD_KERNEL_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <float.h>
#include <stdint.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__ || FLT_EVAL_METHOD != 0
#error "the kernel needs little-endian bytes and plain 64-bit arithmetic; without it the Python fold is used"
#endif

/* What `native.py` expects; raised with every change of the specification that it passes to `Plan`. */
#define INTERFACE 3

/* The functions of records.c, appends.c, times.c, names.c and served.c. */
extern PyMethodDef RECORDS[], APPENDS[], TIMES[], NAMES[], SERVED[];

#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

typedef __int128 i128;
typedef unsigned __int128 u128;

/* ---- bytes ---- */

static inline uint16_t read_u16(const uint8_t *p) { uint16_t x; memcpy(&x, p, 2); return x; }
static inline uint32_t read_u32(const uint8_t *p) { uint32_t x; memcpy(&x, p, 4); return x; }
static inline int32_t read_i32(const uint8_t *p) { int32_t x; memcpy(&x, p, 4); return x; }
static inline uint64_t read_u64(const uint8_t *p) { uint64_t x; memcpy(&x, p, 8); return x; }
static inline int64_t read_i64(const uint8_t *p) { int64_t x; memcpy(&x, p, 8); return x; }
static inline double read_f64(const uint8_t *p) { double x; memcpy(&x, p, 8); return x; }
static inline i128 read_i128(const uint8_t *p) { i128 x; memcpy(&x, p, 16); return x; }
static inline int bit_at(const uint8_t *bits, uint32_t i) { return bits[i >> 3] >> (i & 7) & 1; }

/* ---- memory of one call, and what went wrong ---- */

typedef struct block { struct block *next; size_t size; } block;

typedef struct {
    block *first;       /* the one that is filled */
    size_t used;
    char error[160];    /* why the state is corrupt */
} work;

void *take(work *w, size_t count, size_t size);  /* NULL with a MemoryError */
void clear_work(work *w);                        /* keeps one block */
void free_work(work *w);
/* Each gives -1. `corrupt` says why a state is none, in words; with a Python error set, that is what went wrong. */
int corrupt(work *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- types ---- */

typedef enum { K_BOOL, K_INT, K_DOUBLE, K_TEXT, K_WIDE, K_LIST } kind;

typedef struct {
    uint8_t kind;      /* K_INT also for times, dates, and DECIMALs of up to 18 digits */
    uint8_t decimal;   /* whether it is a DECIMAL */
    uint8_t scale;     /* its digits behind the point */
    uint8_t item, item_decimal;  /* the kind of a LIST's items, and whether these are DECIMALs */
} type;

typedef struct { const uint8_t *at; uint32_t size; } span;

/* ---- a state's bytes (head.c, tail.c, items.c) ---- */

enum { NO_VALUES, C_BOOL, C_I64, C_I32, C_F64, C_CENTS, C_TEXT, C_I128, C_LIST, SOME_NULL = 0x80 };

typedef struct {
    uint8_t code;            /* without SOME_NULL */
    const uint8_t *nulls;    /* a bit an event, or NULL */
    const uint8_t *data;
    uint32_t size;           /* bytes of data */
} packed;

typedef struct { uint32_t sequence; int64_t highest; } offset;

typedef struct {
    uint32_t length, n, one_sequence;
    int64_t floor, unit, base;
    int wide;                    /* times of 64 bits */
    const uint8_t *times, *sequences, *ids;  /* the last two may be NULL */
    packed *columns;
    span section;
} head;

typedef struct {
    const uint8_t *at;           /* its NULL bits */
    const span *texts;           /* of its values that vary in length */
    int64_t ts, offset;
    uint64_t id;
    uint32_t sequence, place;
} record;

typedef struct {
    head head;
    record *records;             /* no copies, in order of (ts, sequence, offset) */
    uint32_t count;
    offset *offsets;
    uint32_t n_offsets;
} state;

struct layout;
int fits(const type *t, uint8_t encoding, uint64_t n, uint64_t size);
packed unpacked(uint8_t encoding, const uint8_t *payload, uint32_t size, uint32_t n);
int read_head(work *w, const struct layout *layout, const uint8_t *bytes, size_t length, state *s);
int read_tail(work *w, const struct layout *layout, const uint8_t *bytes, size_t length, state *s);
int check_text(work *w, const uint8_t *at, size_t size);
int check_items(work *w, const type *t, const uint8_t *at, size_t size);

typedef struct layout {
    uint32_t width, null_bytes, varying, fixed;  /* fixed: bytes of a record before what varies */
    int has_ids;
    type *types;
    uint32_t *places;            /* of a value in a record, from its NULL bits on; of one that varies, which it is */
} layout;

/* ---- events in order (timeline.c) ---- */

#define FOREVER INT64_MIN
#define MOST_TIME ((int64_t)1 << 61)

typedef struct {
    int64_t lower;               /* FOREVER for a lifetime */
    int64_t upper, resolution;   /* resolution 0: none */
    int64_t skip, count;         /* of a frame of rows; skip -1: none; count -1: all */
} window;

typedef struct {
    const state *s;
    const uint32_t *order;       /* events of head and tail, by number; NULL where all are in order as they are */
    uint32_t n;
} view;

static inline int64_t head_time(const head *h, uint32_t i)
{
    return h->wide ? read_i64(h->times + 8 * (size_t)i) : h->base + h->unit * (int64_t)read_u32(h->times + 4 * (size_t)i);
}

static inline int64_t time_of(const state *s, uint32_t i)
{
    return i < s->head.n ? head_time(&s->head, i) : s->records[i - s->head.n].ts;
}

static inline uint32_t sequence_of(const state *s, uint32_t i)
{
    if (i >= s->head.n) return s->records[i - s->head.n].sequence;
    return s->head.sequences ? read_u32(s->head.sequences + 4 * (size_t)i) : s->head.one_sequence;
}

static inline uint32_t event_at(const view *v, uint32_t i) { return v->order ? v->order[i] : i; }

int64_t first_time(const window *w, int64_t t);  /* FOREVER for a lifetime */
int64_t last_time(const window *w, int64_t t);
uint32_t index_of(const view *v, int64_t ts);    /* the first event at or after ts */
int in_order(work *w, const state *s, int always, view *out);
int passing(work *w, const layout *l, const view *all, int where, view *out);

/* ---- columns of a view (lanes.c) ---- */

typedef struct {
    uint32_t low, high;          /* the events of the view that it holds; x[0] is that of `low` */
    uint8_t kind;
    uint8_t ordinary;            /* DOUBLEs: all are 0.0, or of a magnitude from 2^-14 on and below 2^25 */
    uint8_t *nulls;              /* a byte an event; NULL where no event is NULL */
    union {
        uint8_t *b;
        int64_t *i;
        double *d;
        i128 *w;
        span *s;                 /* of a LIST of a head: its items, from the `at`th on, `size` many */
    } x;
} lane;

int fill_lane(work *w, const layout *l, const view *v, int column, lane *out);
int unpack_lane(work *w, const packed *p, uint32_t n, lane *out);  /* all n of a packed column */
int is_less(const lane *a, uint32_t i, const lane *b, uint32_t j); /* places of the lanes, as `low` is the first */

/* ---- exact sums (exact.c) ---- */

#define LIMBS 5
typedef struct { uint64_t limb[LIMBS]; } big;    /* two's complement, the lowest first */

typedef struct { i128 high, low; big more; int has_more; } grid;  /* units of 2^-10 and 2^-72; more: of 2^-72 */

enum { TOO_LARGE = 1, IS_NAN = 2, PLUS_INF = 4, MINUS_INF = 8 };

int flag_of(double x);

/* One value on the grid, of less than 2^53: two whole numbers, both with its sign. */
static inline void grid_add(grid *g, double x)
{
    double y = x * 0x1p10;
    int64_t high = (int64_t)y;
    g->high += high;
    g->low += (int64_t)((y - (double)high) * 0x1p62);
}


/* Of ordinary DOUBLEs (doubles.c). Their sum is kept as two DOUBLEs, each exact, of at most so many values. */
#define MOST_ORDINARY 256
typedef struct { double high, low; uint32_t n; } halves;

int is_ordinary(double x);
void unpack_cents(const uint8_t *data, uint32_t n, double *out);
void add_ordinary(const double *x, uint32_t n, halves *sum);
double extreme_ordinary(const double *x, uint32_t n, int greatest);
void big_add(big *a, const big *b);
void big_add_wide(big *a, i128 x, unsigned shift);
void big_add_double(big *a, double units);       /* rounded toward zero */
void big_add_square(big *a, double x);           /* of 2^-72 */
double big_double(const big *a);                 /* rounded once, half to even */
double grid_double(const grid *g);
double variance(int64_t n, const grid *sum, const big *squares, int sample);

/* ---- buckets (buckets.c, entries.c) ---- */

enum { P_COUNT, P_SUM, P_DOUBLES, P_SQUARES, P_LISTS, P_PLAIN, P_END, P_BY };

typedef struct {
    uint8_t kind, wanted;        /* whether a slot takes its values from it */
    type x, y;
} part;

typedef struct { const uint8_t *digits; uint8_t width, zeros; } whole;

typedef struct {                 /* the columns of a part, as its kind has them */
    whole total, squares;
    int64_t *n, *flags, *sequence;
    lane after, x, y;
} entries;

typedef struct {
    int64_t before, newest;
    uint32_t n;
    int64_t *starts;
    entries *parts;
} buckets;

/* ---- aggregates (folds.c, finish.c, plan.c) ---- */

typedef enum {
    F_NONE, F_COUNT, F_SUM, F_AVG, F_VAR_POP, F_VAR_SAMP, F_STDDEV_POP, F_STDDEV_SAMP, F_AND, F_OR, F_MIN, F_MAX,
    F_DISTINCT, F_MIN_BY, F_MAX_BY, F_FIRST, F_LAST
} function;

typedef struct {
    uint8_t function;            /* F_NONE: Python folds it */
    type type;                   /* of the first argument */
    int32_t view, window;        /* window: of the plan's spans */
    int32_t arg, other, filter;  /* lanes of the plan, or -1 */
    int32_t part;                /* of the layout's buckets, or -1 */
    int32_t next;                /* the next slot of its job, or -1 */
} slot;

/* Slots that differ in window and finish alone: from `start` on in the plan's order. Where they nest, each window holds the
   one before, and ends where it ends; usual: see ordinary.c. */
typedef struct { uint32_t start, count; int nested, usual; } job;

typedef struct { int32_t view; int32_t column; } source;   /* what a lane is filled from; column -1: the time */

/* What a window holds: events of its view, and entries of buckets. */
typedef struct { uint32_t low, high, first, end; } bounds;

typedef struct { uint32_t *places; uint32_t size, used; uint64_t seed; } table;

typedef struct {
    int64_t n;                   /* values met */
    i128 whole;                  /* sum of integers, the low 64 bits in `whole` and the others in `carry` where wide */
    i128 carry;
    grid total;                  /* of DOUBLEs, where on_grid is set; beside it `sum_of` few ordinary ones */
    halves few;
    int on_grid;
    big squares;
    int flags;
    int64_t best, entry;         /* an event, and an entry of buckets, or -1 */
    int held;                    /* of booleans: -1 none, 0, 1 */
    int has_value, has_sum;
    double value;                /* the best, where it needs no place */
    double sum;                  /* of DOUBLEs, where it was worked out (has_sum) */
    table met;
    int has_table;
} acc;

typedef struct {
    layout layout;
    uint32_t n_slots, n_windows, n_views, n_lanes, n_jobs, n_parts;
    slot *slots;
    window *windows;
    int32_t *wheres;             /* of each view: a column, or -1 */
    source *sources;             /* of each lane */
    job *jobs;
    int32_t *order;              /* the slots of each job */
    int listed;                  /* events must be put in one list first */
    int64_t resolution;          /* 0: no buckets */
    part *parts;
    uint64_t seed;
    PyObject *empty, *whole, *error;
    work work;                   /* lent to one call at a time */
} plan;

typedef struct {
    const plan *plan;
    work *work;
    view *views;
    bounds *bounds;              /* of each view's windows: view * n_windows + window; low to high, first to end */
    lane *lanes;
    const buckets *buckets;      /* NULL where there are none */
    int64_t t;
    PyObject *values;            /* a tuple */
    uint64_t value_errors;
} reading;

int read_buckets(work *w, const plan *p, const state *s, buckets *b);
uint32_t bucket_of(const buckets *b, int64_t ts);
int64_t newest_in(const buckets *b, int64_t t);
void fold_entries(const slot *s, const part *p, const entries *e, acc *a, uint32_t start, uint32_t end);
void to_grid(acc *a);            /* the few ordinary DOUBLEs, so that there is room for others */
int takes_entry(const reading *r, const slot *s, const acc *a);
big sum_of(const acc *a);        /* of whole numbers, entries of buckets among them */
int fold_job(reading *r, const job *j);
int is_usual(const job *j, const slot *s);
int fold_usual(reading *r, const job *j);

static inline const bounds *bounds_of(const reading *r, const slot *s)
{
    return &r->bounds[(size_t)s->view * r->plan->n_windows + (size_t)s->window];
}

PyObject *finish_slot(reading *r, const slot *s, acc *a);
PyObject *value_of(work *w, const type *t, const lane *l, uint32_t event);
int add_distinct(work *w, table *t, const lane *l, uint32_t event);  /* 1 new, 0 met before, -1 error */
PyObject *wide_long(i128 x);

int plan_from(plan *p, PyObject *specification);
void free_plan(plan *p);

enum { VALUES, PARTIAL, OFFSETS, NEWEST, EVENTS, PARTS };   /* of a Reading */

/* Fills the parts; 0 for corrupt bytes, of which the work says what they are, and -1 with a Python error. */
int read_state(const plan *p, work *w, const uint8_t *bytes, size_t length, int64_t t, PyObject **parts, uint64_t *value_errors);

#endif
