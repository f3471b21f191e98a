/* Texts and lists, as far as they must be looked at to know that they are some. */
#include "kernel.h"

int check_text(work *w, const uint8_t *at, size_t size)
{
    size_t i = 0;
    while (i + 8 <= size && !(read_u64(at + i) & 0x8080808080808080u)) i += 8;
    while (i < size && at[i] < 0x80) i++;
    if (i == size) return 0;
    PyObject *text = PyUnicode_DecodeUTF8((const char *)at, (Py_ssize_t)size, NULL);
    if (text) {
        Py_DECREF(text);
        return 0;
    }
    if (!PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) return -1;
    PyErr_Clear();
    return corrupt(w, "a VARCHAR of a state is no UTF-8");
}

/* Texts of a column, of which an end may lie anywhere: what is cut off is left out, as slices do. */
static int check_texts(work *w, const packed *p, uint32_t n)
{
    uint32_t from = 0;
    const uint8_t *text = p->data + 4 * (size_t)n;
    uint32_t size = p->size - 4 * n;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t end = read_u32(p->data + 4 * (size_t)i);
        uint32_t low = from < size ? from : size, high = end < size ? end : size;
        if (high > low && check_text(w, text + low, high - low) < 0) return -1;
        from = end;
    }
    return 0;
}

/* The LIST of a record: a count and its items as a column; no bytes at all are NULL. */
int check_items(work *w, const type *t, const uint8_t *at, size_t size)
{
    if (!size) return 0;
    type item = {.kind = t->item, .decimal = t->item_decimal};
    if (size < 9) return corrupt(w, "the items of a LIST are cut off");
    uint32_t n = read_u32(at), bytes = read_u32(at + 5);
    uint8_t encoding = at[4];
    if (bytes != size - 9 || !fits(&item, encoding, n, bytes) || (n && (encoding & 0x7f) == NO_VALUES))
        return corrupt(w, "%u items of a LIST have %zu bytes of encoding %u", n, size - 9, encoding);
    packed p = unpacked(encoding, at + 9, bytes, n);
    return item.kind == K_TEXT && p.code == C_TEXT ? check_texts(w, &p, n) : 0;
}
