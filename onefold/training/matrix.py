"""From feature columns to what a model takes: computed in DOUBLE, cast to FLOAT last."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa

from onefold.features.contract import ModelInput, refusal
from onefold.features.errors import ModelError, nearest
from onefold.features.types import BIGINT, BOOLEAN, DOUBLE, DataType, parse_type
from onefold.offline.arrow import doubles

_FITS: dict[DataType, Callable[[pa.DataType], bool]] = {
    BOOLEAN: pa.types.is_boolean,
    BIGINT: pa.types.is_integer,
    DOUBLE: pa.types.is_floating,
}


def to_matrix(table: pa.Table, inputs: Sequence[ModelInput], *, dtype: type[np.floating] = np.float32) -> np.ndarray:
    """Features as a matrix of shape [rows, inputs], in the order of `inputs`; `dtype` is float32 or float64.

    NULL is NaN, BOOLEAN is 0 or 1. Every value is a DOUBLE first and is rounded to `dtype` once, half to even.
    Raises ModelError for a feature that is absent, of another type than its input says, or not a number.
    """
    check_inputs(inputs)
    matrix = np.empty((table.num_rows, len(inputs)), dtype=dtype)
    with np.errstate(over="ignore"):
        for place, item in enumerate(inputs):
            matrix[:, place] = _doubles(table, item)
    return matrix


def check_inputs(inputs: Sequence[ModelInput]) -> None:
    """ModelError, naming them, where features have a type that a model cannot take."""
    for item in inputs:
        why = refusal(item)
        if why is not None:
            raise ModelError(why)


def check_finite(matrix: np.ndarray, inputs: Sequence[ModelInput]) -> None:
    """ModelError, naming the first feature, where a value is infinite or too large for FLOAT."""
    bad = np.isinf(matrix).sum(axis=0)
    if bad.any():
        place = int(bad.argmax())
        raise ModelError(
            f"feature {inputs[place].name!r} is infinite as FLOAT in {int(bad[place]):,} of {len(matrix):,} rows; "
            "bound it in its SQL, as with CASE WHEN x < 1e30 THEN x END"
        )


def _doubles(table: pa.Table, item: ModelInput) -> np.ndarray:
    if item.name not in table.column_names:
        raise ModelError(f"feature {item.name!r} is not in the table{nearest(item.name, table.column_names)}")
    column = table[item.name]
    fits = _FITS.get(parse_type(item.type), pa.types.is_decimal128)
    if not (fits(column.type) or pa.types.is_null(column.type)):
        raise ModelError(f"feature {item.name!r} is {item.type}, found a column of Arrow type {column.type}")
    return np.asarray(doubles(column).to_numpy(zero_copy_only=False))
