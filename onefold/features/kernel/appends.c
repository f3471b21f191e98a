/* The bytes of commands: of APPENDs, as `redis_commands.appends` and `chunked` make them, and of one with many words. */
#include "kernel.h"
#include <string.h>

#define START "*3\r\n$6\r\nAPPEND\r\n"

static int digits(Py_ssize_t number)
{
    int count = 1;
    while (number >= 10)
        number /= 10, count++;
    return count;
}

/* Bytes of one word of a command. */
static Py_ssize_t size_of(PyObject *word)
{
    Py_ssize_t length = PyBytes_GET_SIZE(word);
    return 1 + digits(length) + 2 + length + 2;
}

static char *write_word(char *to, PyObject *word)
{
    Py_ssize_t length = PyBytes_GET_SIZE(word), left = length;
    int count = digits(length);
    *to++ = '$';
    for (int i = count - 1; i >= 0; i--, left /= 10)
        to[i] = '0' + left % 10;
    to += count;
    memcpy(to, "\r\n", 2);
    memcpy(to + 2, PyBytes_AS_STRING(word), length);
    memcpy(to + 2 + length, "\r\n", 2);
    return to + 2 + length + 2;
}

static int is_append(PyObject *item)
{
    return PyTuple_Check(item) && PyTuple_GET_SIZE(item) == 2 && PyBytes_Check(PyTuple_GET_ITEM(item, 0)) &&
           PyBytes_Check(PyTuple_GET_ITEM(item, 1));
}

/* (request, commands) of the items from `start` to before `end`. */
static PyObject *request(PyObject *items, Py_ssize_t start, Py_ssize_t end, Py_ssize_t size)
{
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, size);
    if (bytes == NULL)
        return NULL;
    char *to = PyBytes_AS_STRING(bytes);
    for (Py_ssize_t i = start; i < end; i++) {
        PyObject *item = PyList_GET_ITEM(items, i);
        memcpy(to, START, sizeof START - 1);
        to = write_word(to + sizeof START - 1, PyTuple_GET_ITEM(item, 0));
        to = write_word(to, PyTuple_GET_ITEM(item, 1));
    }
    return Py_BuildValue("(Nn)", bytes, end - start);
}

/* appends(items, chunk) -> [(request, commands)], each but the last of at least `chunk` bytes; None for other items */
static PyObject *appends(PyObject *self, PyObject *args)
{
    PyObject *items;
    Py_ssize_t chunk, start = 0, size = 0;
    if (!PyArg_ParseTuple(args, "O!n", &PyList_Type, &items, &chunk))
        return NULL;
    PyObject *found = PyList_New(0);
    for (Py_ssize_t i = 0, count = PyList_GET_SIZE(items); found != NULL && i < count; i++) {
        PyObject *item = PyList_GET_ITEM(items, i);
        if (!is_append(item)) {
            Py_DECREF(found);
            Py_RETURN_NONE;
        }
        size += sizeof START - 1 + size_of(PyTuple_GET_ITEM(item, 0)) + size_of(PyTuple_GET_ITEM(item, 1));
        if (size < chunk && i + 1 < count)
            continue;
        PyObject *one = request(items, start, i + 1, size);
        if (one == NULL || PyList_Append(found, one) < 0)
            Py_CLEAR(found);
        Py_XDECREF(one);
        start = i + 1, size = 0;
    }
    return found;
}

/* many(start, words) -> the bytes of a command; words: a list of bytes */
static PyObject *many(PyObject *self, PyObject *args)
{
    PyObject *start, *words;
    if (!PyArg_ParseTuple(args, "SO!", &start, &PyList_Type, &words))
        return NULL;
    Py_ssize_t size = PyBytes_GET_SIZE(start), count = PyList_GET_SIZE(words);
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *word = PyList_GET_ITEM(words, i);
        if (!PyBytes_Check(word))
            return PyErr_Format(PyExc_TypeError, "a word is bytes, found %.50s", Py_TYPE(word)->tp_name);
        size += size_of(word);
    }
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, size);
    if (bytes == NULL)
        return NULL;
    char *to = PyBytes_AS_STRING(bytes);
    memcpy(to, PyBytes_AS_STRING(start), PyBytes_GET_SIZE(start));
    to += PyBytes_GET_SIZE(start);
    for (Py_ssize_t i = 0; i < count; i++)
        to = write_word(to, PyList_GET_ITEM(words, i));
    return bytes;
}

PyMethodDef APPENDS[] = {
    {"many", many, METH_VARARGS, "The bytes of a command of many words behind what it starts with."},
    {"appends", appends, METH_VARARGS, "The bytes of APPEND commands, in requests of bounded length."},
    {NULL, NULL, 0, NULL},
};
