"""Every benchmark, one after the other, and its tables into docs/benchmarks.md.

make bench-all, or python benchmarks/_all.py [NAME ...] for some. What stands between the lines `<!-- tables: NAME -->`
and `<!-- end of NAME -->` of the page is written anew; the words around it stay, and are for people to keep true.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "benchmarks.md"
NAMES = ("training_set", "spark", "replay", "lookup", "online", "score", "redis_store", "stream", "leak", "feast")
LONG = ("growth",)
"""Takes a quarter of an hour: only when it is named."""


def run(name: str, scratch: Path, *, quick: bool) -> Mapping[str, Any]:
    """One benchmark in a process of its own; its report. The flights are prepared by the first."""
    print(f"== {name}", flush=True)
    result = scratch / f"{name}.json"
    script = next(p for p in (HERE / f"{name}.py", HERE / f"with_{name}.py") if p.exists())
    command = [sys.executable, str(script), "--data", str(scratch / "flights"), "--json", str(result)]
    subprocess.run([*command, "--quick"] if quick else command, check=True)
    found: Mapping[str, Any] = json.loads(result.read_text())
    return found


def markdown(report: Mapping[str, Any]) -> str:
    """A report's machine and tables."""
    lines = [report["machine"], ""]
    for table in report["tables"]:
        lines += [f"**{table['title']}**", "", _row(table["columns"]), "|" + "---|" * len(table["columns"])]
        lines += [*map(_row, table["rows"]), ""]
    return "\n".join(lines).rstrip()


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |"


def replaced(page: str, name: str, text: str) -> str:
    """The page with this text between the markers of a name; ValueError where it has none."""
    first, last = f"<!-- tables: {name} -->", f"<!-- end of {name} -->"
    pattern = re.compile(f"{re.escape(first)}.*?{re.escape(last)}", re.DOTALL)
    if not pattern.search(page):
        raise ValueError(f"the page has no lines {first!r} and {last!r}; write them where the tables belong")
    return pattern.sub(lambda _: f"{first}\n{text}\n{last}", page)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="bench-all")
    parser.add_argument(
        "names", nargs="*", choices=[[], *NAMES, *LONG], default=[], metavar="NAME", help=", ".join(NAMES + LONG)
    )
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that all works")
    parser.add_argument("--page", type=Path, default=PAGE)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="onefold-bench-") as folder:
        for name in given.names or NAMES:
            report = run(name, Path(folder), quick=given.quick)
            given.page.write_text(replaced(given.page.read_text(), name, markdown(report)))


if __name__ == "__main__":
    main()
