/* Times as text to microseconds, as `bulk_json` reads them: 2013-12-01T08:30:00.123Z, with up to six digits or none. */
#include "kernel.h"

#define SECONDS_AT 19
#define LONGEST 27

/* The number of so many digits; -1 where one is none. */
static int number(const char *at, int count)
{
    int found = 0;
    for (int i = 0; i < count; i++) {
        if (at[i] < '0' || at[i] > '9')
            return -1;
        found = found * 10 + (at[i] - '0');
    }
    return found;
}

static int days_of(int year, int month)
{
    static const int DAYS[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return DAYS[month - 1] + (month == 2 && leap);
}

/* Days since 1970-01-01 of a date from year 1 on: years begin in March here, so that a leap day is their last. */
static int64_t days_since_1970(int year, int month, int day)
{
    int64_t y = month <= 2 ? year - 1 : year, m = (month + 9) % 12;
    return y * 365 + y / 4 - y / 100 + y / 400 + (m * 306 + 5) / 10 + day - 1 - 719468;
}

/* Microseconds since 1970; 0 in `*good` where the text is written otherwise, or its time is not surely in range. */
static int64_t micros(const char *text, Py_ssize_t length, int *good)
{
    *good = 0;
    if (length <= SECONDS_AT || length == SECONDS_AT + 2 || length > LONGEST || text[length - 1] != 'Z')
        return 0;
    if (text[4] != '-' || text[7] != '-' || (text[10] != 'T' && text[10] != ' ') || text[13] != ':' || text[16] != ':')
        return 0;
    int year = number(text, 4), month = number(text + 5, 2), day = number(text + 8, 2);
    int hour = number(text + 11, 2), minute = number(text + 14, 2), second = number(text + 17, 2), fraction = 0;
    if (year < 1 || month < 1 || month > 12 || day < 1 || day > days_of(year, month))
        return 0;
    if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59)
        return 0;
    if (year == 9999 && month == 12 && day == 31)
        return 0;
    if (length > SECONDS_AT + 1) {
        int digits = (int)length - SECONDS_AT - 2;
        fraction = text[SECONDS_AT] == '.' ? number(text + SECONDS_AT + 1, digits) : -1;
        if (fraction < 0)
            return 0;
        for (; digits < 6; digits++)
            fraction *= 10;
    }
    *good = 1;
    return ((days_since_1970(year, month, day) * 24 + hour) * 60 + minute) * 60000000 + (int64_t)second * 1000000 + fraction;
}

/* times(texts) -> [microseconds] | None where one of them is no such text */
static PyObject *times(PyObject *self, PyObject *texts)
{
    if (!PyList_Check(texts))
        Py_RETURN_NONE;
    PyObject *found = PyList_New(PyList_GET_SIZE(texts));
    for (Py_ssize_t i = 0; found != NULL && i < PyList_GET_SIZE(texts); i++) {
        PyObject *text = PyList_GET_ITEM(texts, i);
        int good = 0;
        int64_t at = 0;
        if (PyUnicode_Check(text) && PyUnicode_IS_COMPACT_ASCII(text))
            at = micros((const char *)PyUnicode_1BYTE_DATA(text), PyUnicode_GET_LENGTH(text), &good);
        if (!good) {
            Py_DECREF(found);
            Py_RETURN_NONE;
        }
        PyObject *number = PyLong_FromLongLong(at);
        if (number == NULL)
            Py_CLEAR(found);
        else
            PyList_SET_ITEM(found, i, number);
    }
    return found;
}

PyMethodDef TIMES[] = {
    {"times", times, METH_O, "Microseconds of times as text; None where they are not all written so."},
    {NULL, NULL, 0, NULL},
};
