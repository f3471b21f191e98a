"""Keeping pandas out of the serving process, although Arrow is in it.

Arrow looks for pandas once, at the first list that it converts, and imports it where it is installed: 0.5 s and
60 MB for what the served log has no use for. Here that one look finds nothing.
"""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder


class _Absent(MetaPathFinder):
    """Finds pandas to be absent, and has no say in anything else."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError("pandas is kept out of the serving process")
        return


def keep_pandas_out() -> None:
    """Make Arrow's first conversion while pandas cannot be found; whoever imports pandas later still gets it."""
    import pyarrow as pa

    finder = _Absent()
    sys.meta_path.insert(0, finder)
    try:
        pa.array([None])
    finally:
        sys.meta_path.remove(finder)
