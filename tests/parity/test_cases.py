"""Cases that a person can read: every engine gives the rows that `cases/*.sql` says (`written` reads them)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.parity.engines import ENGINES, assert_same_rows, bits, by_oracle
from tests.parity.written import CASES, case_of


@pytest.mark.parametrize("path", CASES, ids=lambda p: p.stem)
@pytest.mark.parametrize("engine", ["oracle", *(e for e in ENGINES if not e.startswith("spark-"))])
def test_a_written_case_comes_out_as_written(engine: str, path: Path) -> None:
    case, expected = case_of(path)
    found = by_oracle(case) if engine == "oracle" else ENGINES[engine](case)
    assert [[*map(bits, row)] for row in found] == [[*map(bits, row)] for row in expected], f"\n{found}\n{expected}"
    assert_same_rows(found, expected, case)
