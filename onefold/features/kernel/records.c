/* What a stream does for every event: reading the records of a Kafka batch, and packing those of a state's tail.

Python's `kafka_records.unpacked` and `RecordCodec.blocks` are the reference. Where something is not plain (a value of
another type, bytes that are cut off) these give None, and the reference decides: it is the one that says what is wrong.
*/
#include "kernel.h"
#include <string.h>

#define TAG 0x52
#define SEQUENCE_AT 1
#define OFFSET_AT 5
#define TIME_AT 13
#define ID_AT 21
#define NULLS_AT 29

/* A zigzag varint; NULL where it is cut off or longer than 64 bits. */
static const uint8_t *varint(const uint8_t *at, const uint8_t *end, int64_t *value)
{
    uint64_t found = 0;
    for (int shift = 0; shift < 63 && at < end; shift += 7) {
        uint8_t byte = *at++;
        found |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *value = (int64_t)(found >> 1) ^ -(int64_t)(found & 1);
            return at;
        }
    }
    return NULL;
}

/* One record: where its value lies, and where it ends; NULL where it is not whole. */
static const uint8_t *one_record(const uint8_t *at, const uint8_t *end, int64_t *time, int64_t *offset,
                                 const uint8_t **value, int64_t *size)
{
    int64_t length, key;
    if ((at = varint(at, end, &length)) == NULL || length < 1 || length > end - at)
        return NULL;
    const uint8_t *behind = at + length;
    at++; /* the attributes, of which none is used */
    if ((at = varint(at, behind, time)) == NULL || (at = varint(at, behind, offset)) == NULL)
        return NULL;
    if ((at = varint(at, behind, &key)) == NULL || key > behind - at)
        return NULL;
    at += key > 0 ? key : 0;
    if ((at = varint(at, behind, size)) == NULL || *size > behind - at)
        return NULL;
    *value = at;
    return behind;
}

static int put(PyObject *list, Py_ssize_t i, PyObject *value)
{
    if (value == NULL)
        return -1;
    PyList_SET_ITEM(list, i, value);
    return 0;
}

/* kafka_records(buffer, at, count, first_offset, first_time) -> (offsets, times, values) | None */
static PyObject *kafka_records(PyObject *self, PyObject *args)
{
    Py_buffer buffer;
    Py_ssize_t start, count;
    long long first_offset, first_time;
    if (!PyArg_ParseTuple(args, "y*nnLL", &buffer, &start, &count, &first_offset, &first_time))
        return NULL;
    const uint8_t *at = (const uint8_t *)buffer.buf + start, *end = (const uint8_t *)buffer.buf + buffer.len;
    PyObject *offsets = NULL, *times = NULL, *values = NULL, *found = NULL;
    if (start < 0 || count < 0 || start > buffer.len || count > buffer.len - start)
        goto none;
    offsets = PyList_New(count), times = PyList_New(count), values = PyList_New(count);
    if (offsets == NULL || times == NULL || values == NULL)
        goto done;
    for (Py_ssize_t i = 0; i < count; i++) {
        int64_t time, offset, size;
        const uint8_t *value;
        if ((at = one_record(at, end, &time, &offset, &value, &size)) == NULL ||
            __builtin_add_overflow(time, first_time, &time) || __builtin_mul_overflow(time, 1000, &time) ||
            __builtin_add_overflow(offset, first_offset, &offset))
            goto none;
        if (put(offsets, i, PyLong_FromLongLong(offset)) < 0 || put(times, i, PyLong_FromLongLong(time)) < 0 ||
            put(values, i, PyBytes_FromStringAndSize((const char *)value, size > 0 ? size : 0)) < 0)
            goto done;
    }
    if (at == end) {
        found = PyTuple_Pack(3, offsets, times, values);
        goto done;
    }
none:
    found = Py_NewRef(Py_None);
done:
    Py_XDECREF(offsets), Py_XDECREF(times), Py_XDECREF(values);
    PyBuffer_Release(&buffer);
    return found;
}

/* The columns of events to pack. `codes` has one letter a column: q, d and B as in `struct`, t for text. */
typedef struct {
    PyObject *names, *offsets, *ts, *ids;
    PyObject **columns;
    const char *codes;
    Py_ssize_t width, rows, nulls, fixed;
    uint32_t sequence;
} Rows;

static Py_ssize_t width_of(char code)
{
    return code == 'B' ? 1 : code == 't' ? 0 : 8;
}

/* Bytes of the record of a row; -1 where a text is none. */
static Py_ssize_t size_of(const Rows *rows, Py_ssize_t row)
{
    Py_ssize_t size = rows->fixed;
    for (Py_ssize_t i = 0; i < rows->width; i++) {
        if (rows->codes[i] != 't')
            continue;
        PyObject *value = PyList_GET_ITEM(rows->columns[i], row);
        Py_ssize_t length = 0;
        if (value != Py_None && (!PyUnicode_Check(value) || PyUnicode_AsUTF8AndSize(value, &length) == NULL))
            return -1;
        if (length > UINT32_MAX)
            return -1;
        size += 4 + length;
    }
    return size;
}

static int write_fixed(char code, PyObject *value, char *to)
{
    if (code == 'B') {
        if (value != Py_True && value != Py_False)
            return -1;
        *to = value == Py_True;
        return 0;
    }
    if (code == 'd') {
        if (!PyFloat_Check(value))
            return -1;
        double number = PyFloat_AS_DOUBLE(value);
        memcpy(to, &number, 8);
        return 0;
    }
    if (!PyLong_Check(value))
        return -1;
    long long number = PyLong_AsLongLong(value);
    if (number == -1 && PyErr_Occurred())
        return -1;
    memcpy(to, &number, 8);
    return 0;
}

/* Writes the record of a row; returns where it ends, or NULL where a value is not of its column's type. */
static char *write_row(const Rows *rows, Py_ssize_t row, char *to)
{
    char *value_at = to + NULLS_AT + rows->nulls, *text_at = to + rows->fixed;
    memset(to, 0, rows->fixed);
    to[0] = TAG;
    memcpy(to + SEQUENCE_AT, &rows->sequence, 4);
    if (write_fixed('q', PyList_GET_ITEM(rows->offsets, row), to + OFFSET_AT) < 0 ||
        write_fixed('q', PyList_GET_ITEM(rows->ts, row), to + TIME_AT) < 0)
        return NULL;
    PyObject *id = PyList_GET_ITEM(rows->ids, row);
    unsigned long long hash = PyLong_Check(id) ? PyLong_AsUnsignedLongLong(id) : (unsigned long long)-1;
    if (hash == (unsigned long long)-1 && (!PyLong_Check(id) || PyErr_Occurred()))
        return NULL;
    memcpy(to + ID_AT, &hash, 8);
    for (Py_ssize_t i = 0; i < rows->width; i++) {
        PyObject *value = PyList_GET_ITEM(rows->columns[i], row);
        char code = rows->codes[i];
        if (value == Py_None)
            to[NULLS_AT + i / 8] |= 1 << (i % 8);
        if (code == 't') {
            Py_ssize_t length = 0;
            const char *text = value == Py_None ? "" : PyUnicode_AsUTF8AndSize(value, &length);
            uint32_t said = (uint32_t)length;
            memcpy(text_at, &said, 4);
            memcpy(text_at + 4, text, length);
            text_at += 4 + length;
        } else if (value != Py_None && write_fixed(code, value, value_at) < 0) {
            return NULL;
        }
        value_at += width_of(code);
    }
    return text_at;
}

/* The number of a row's name among those met so far, which it joins when it is new; -1 on an error. */
static Py_ssize_t number_of(PyObject *met, PyObject *name)
{
    PyObject *number = PyDict_GetItemWithError(met, name);
    if (number != NULL)
        return PyLong_AsSsize_t(number);
    if (PyErr_Occurred())
        return -1;
    Py_ssize_t fresh = PyDict_GET_SIZE(met);
    number = PyLong_FromSsize_t(fresh);
    int failed = number == NULL || PyDict_SetItem(met, name, number) < 0;
    Py_XDECREF(number);
    return failed ? -1 : fresh;
}

/* (name, block) of each name, in order of the names' first rows; NULL without an error where a row is not plain. */
static PyObject *grouped(const Rows *rows, PyObject *met, Py_ssize_t *group, Py_ssize_t *size)
{
    PyObject *found = NULL, *name, *number;
    char **cursor = NULL;
    for (Py_ssize_t row = 0; row < rows->rows; row++) {
        Py_ssize_t mine = number_of(met, PyList_GET_ITEM(rows->names, row)), bytes = mine < 0 ? -1 : size_of(rows, row);
        if (bytes < 0)
            return NULL;
        group[row] = mine;
        size[mine] += bytes;
    }
    Py_ssize_t groups = PyDict_GET_SIZE(met), place = 0;
    if ((cursor = PyMem_Calloc(groups + 1, sizeof(char *))) == NULL || (found = PyList_New(groups)) == NULL)
        goto failed;
    for (Py_ssize_t i = 0; PyDict_Next(met, &place, &name, &number); i++) {
        PyObject *block = PyBytes_FromStringAndSize(NULL, size[i]);
        PyObject *pair = block == NULL ? NULL : PyTuple_Pack(2, name, block);
        Py_XDECREF(block);
        if (put(found, i, pair) < 0)
            goto failed;
        cursor[i] = PyBytes_AS_STRING(block);
    }
    for (Py_ssize_t row = 0; row < rows->rows; row++)
        if ((cursor[group[row]] = write_row(rows, row, cursor[group[row]])) == NULL)
            goto failed;
    PyMem_Free(cursor);
    return found;
failed:
    PyMem_Free(cursor);
    Py_XDECREF(found);
    return NULL;
}

static int lists_of(const Rows *rows)
{
    PyObject *lists[] = {rows->names, rows->offsets, rows->ts, rows->ids};
    for (int i = 0; i < 4; i++)
        if (!PyList_Check(lists[i]) || PyList_GET_SIZE(lists[i]) != rows->rows)
            return 0;
    for (Py_ssize_t i = 0; i < rows->width; i++)
        if (!PyList_Check(rows->columns[i]) || PyList_GET_SIZE(rows->columns[i]) != rows->rows)
            return 0;
    return 1;
}

/* blocks(names, sequence, offsets, ts, ids, columns, codes) -> [(name, records)] | None */
static PyObject *blocks(PyObject *self, PyObject *args)
{
    Rows rows = {0};
    PyObject *columns, *found = NULL, *met = NULL;
    unsigned long long sequence;
    Py_ssize_t *group = NULL, *size = NULL;
    if (!PyArg_ParseTuple(args, "O!KOOOO!y#", &PyList_Type, &rows.names, &sequence, &rows.offsets, &rows.ts, &rows.ids,
                          &PyList_Type, &columns, &rows.codes, &rows.width))
        return NULL;
    rows.rows = PyList_GET_SIZE(rows.names), rows.sequence = (uint32_t)sequence;
    rows.columns = ((PyListObject *)columns)->ob_item;
    if (sequence > UINT32_MAX || PyList_GET_SIZE(columns) != rows.width || !lists_of(&rows))
        Py_RETURN_NONE;
    rows.nulls = (rows.width + 7) / 8, rows.fixed = NULLS_AT + rows.nulls;
    for (Py_ssize_t i = 0; i < rows.width; i++)
        rows.fixed += width_of(rows.codes[i]);
    met = PyDict_New();
    group = PyMem_Calloc(rows.rows + 1, sizeof(Py_ssize_t)), size = PyMem_Calloc(rows.rows + 1, sizeof(Py_ssize_t));
    if (met == NULL || group == NULL || size == NULL)
        PyErr_NoMemory();
    else
        found = grouped(&rows, met, group, size);
    if (found == NULL && (!PyErr_Occurred() || !PyErr_ExceptionMatches(PyExc_MemoryError))) {
        PyErr_Clear();
        found = Py_NewRef(Py_None);
    }
    PyMem_Free(group), PyMem_Free(size);
    Py_XDECREF(met);
    return found;
}

PyMethodDef RECORDS[] = {
    {"kafka_records", kafka_records, METH_VARARGS, "The records of a Kafka batch as columns; None where they are not plain."},
    {"blocks", blocks, METH_VARARGS, "Records of a state's tail, joined by name; None where the rows are not plain."},
    {NULL, NULL, 0, NULL},
};
