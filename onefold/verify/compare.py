"""Comparing values bit by bit: whole columns, and single ones."""

from __future__ import annotations

import struct
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from onefold.features.functions import equal
from onefold.offline.arrow import to_internal

Mask = npt.NDArray[np.bool_]
Column: TypeAlias = "pa.Array | pa.ChunkedArray"

_SIGN = np.uint64(1 << 63)


def differing(served: Column, expected: Column, *, ulps: int = 0) -> Mask:
    """Which rows differ: NULL equals NULL only, DOUBLEs by their bits (every NaN is one), or by more than `ulps`."""
    a_null, b_null = (as_mask(pc.is_null(x)) for x in (served, expected))
    if pa.types.is_floating(served.type):
        unequal = _distance(_ranks(served), _ranks(expected)) > ulps
    elif pa.types.is_list(served.type):
        pairs = zip(to_internal(served), to_internal(expected), strict=True)
        unequal = np.array([not same(a, b, ulps=ulps) for a, b in pairs], dtype=bool)
    else:
        unequal = ~as_mask(pc.fill_null(pc.equal(served, expected), True))
    found: Mask = (a_null != b_null) | (~a_null & ~b_null & unequal)
    return found


def as_mask(array: Column) -> Mask:
    return np.asarray(numpy_of(array), dtype=bool)


def numpy_of(array: Column) -> Any:
    """An Arrow array or column as a numpy array."""
    return array.to_numpy(zero_copy_only=False) if isinstance(array, pa.Array) else array.to_numpy()


def _ranks(column: Column) -> npt.NDArray[np.uint64]:
    """DOUBLEs as integers that grow with the value, so that neighbours differ by 1."""
    values = np.array(numpy_of(pc.fill_null(column, 0.0)), dtype=np.float64)
    values[np.isnan(values)] = np.nan
    bits = values.view(np.uint64)
    ranks: npt.NDArray[np.uint64] = np.where(bits & _SIGN, ~bits, bits | _SIGN)
    return ranks


def _distance(a: npt.NDArray[np.uint64], b: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    return np.where(a > b, a - b, b - a)


def ulps_apart(a: float, b: float) -> int:
    """How many DOUBLEs one must step over to come from a to b.

    >>> import math
    >>> ulps_apart(1.0, math.nextafter(1.0, 2.0)), ulps_apart(float("nan"), float("nan"))
    (1, 0)
    """
    return abs(_rank(a) - _rank(b))


def _rank(x: float) -> int:
    bits: int = struct.unpack("<Q", struct.pack("<d", x if x == x else float("nan")))[0]
    return ~bits & (2**64 - 1) if bits >> 63 else bits | 1 << 63


def same(a: Any, b: Any, *, ulps: int = 0) -> bool:
    """Whether two plain values of one type are equal, as `differing` has it."""
    if a is None or b is None:
        return a is b
    if isinstance(a, tuple):
        return len(a) == len(b) and all(same(x, y, ulps=ulps) for x, y in zip(a, b, strict=True))
    if ulps and isinstance(a, float):
        return ulps_apart(a, b) <= ulps
    return bool(equal(a, b))
