"""Comparing columns bit by bit."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Mask = npt.NDArray[np.bool_]


def differing(served: pa.ChunkedArray | pa.Array, expected: pa.ChunkedArray | pa.Array, *, ulps: int = 0) -> Mask:
    """Which rows differ: NULL equals NULL only, DOUBLEs by their bits (every NaN is one), or by more than `ulps`."""
    nulls = _mask(pc.is_null(served)), _mask(pc.is_null(expected))
    one_null = nulls[0] != nulls[1]
    both = ~nulls[0] & ~nulls[1]
    if pa.types.is_floating(served.type):
        a, b = (_bits(x) for x in (served, expected))
        unequal = np.abs(_ordered(a) - _ordered(b)) > ulps if ulps else a != b
    else:
        unequal = ~_mask(pc.fill_null(pc.equal(served, expected), True))
    found: Mask = one_null | (both & unequal)
    return found


def _mask(array: pa.ChunkedArray | pa.Array) -> Mask:
    return np.asarray(
        array.to_numpy(zero_copy_only=False) if isinstance(array, pa.Array) else array.to_numpy(), dtype=bool
    )


def _bits(column: pa.ChunkedArray | pa.Array) -> npt.NDArray[np.int64]:
    filled = pc.fill_null(column, 0.0)
    values = np.array(filled.to_numpy(zero_copy_only=False) if isinstance(filled, pa.Array) else filled.to_numpy())
    values[np.isnan(values)] = np.nan
    return values.view(np.int64)


def _ordered(bits: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Bits as numbers that grow with the value, so that neighbours differ by 1 (near enough for small differences)."""
    ordered = np.where(bits < 0, np.int64(-(2**63)) - bits, bits)
    return ordered.astype(np.longdouble)  # 64 bits of mantissa hold an int64
