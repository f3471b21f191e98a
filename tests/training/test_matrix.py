"""What a model takes: numbers, DECIMAL among them, and no lists."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from onefold.features.contract import ModelInput
from onefold.features.errors import ModelError
from onefold.training.matrix import to_matrix


def test_a_decimal_is_its_nearest_number_and_a_list_is_refused_in_words() -> None:
    column = pa.array([Decimal("1.50"), None], pa.decimal128(9, 2))
    table = pa.table({"m": column, "l": pa.array([[1], None], pa.list_(pa.int64()))})
    found = to_matrix(table, [ModelInput("m", "DECIMAL(9,2)", "f")])
    assert found[0, 0] == 1.5 and np.isnan(found[1, 0])
    with pytest.raises(ModelError, match=r"'l' is BIGINT\[\], and a model takes .* list_sum\(x\)"):
        to_matrix(table, [ModelInput("l", "BIGINT[]", "f")])
