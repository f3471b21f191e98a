/* The native kernel: it reads states as `onefold/features/fold.py` does, to the same bits. */
#ifndef ONEFOLD_KERNEL_H
#define ONEFOLD_KERNEL_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <float.h>
#include <stdint.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__ || FLT_EVAL_METHOD != 0
#error "the kernel needs little-endian bytes and plain 64-bit arithmetic; without it the Python fold is used"
#endif

/* What `native.py` expects; raised with every change of the specification that it passes to `Plan`. */
#define INTERFACE 1

/* The functions of records.c and appends.c. */
extern PyMethodDef RECORDS[], APPENDS[];

#endif
