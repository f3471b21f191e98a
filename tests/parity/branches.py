"""Sources of several branches: random ones, and how their events come in, as JSON lines and as Parquet files.

What an engine is given has gone through the branch that it came by: its own names of columns, and the values that stand
in those that it lacks. The oracle sees what the source's schema says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

from onefold.features.definitions import Branch, EventSource
from onefold.features.types import Field
from onefold.features.values import parse_json, to_json
from onefold.offline.arrow import from_internal
from onefold.offline.importing import ImportFile
from onefold.streaming.decode import Decoder
from tests.parity.values import PALETTES

Row = tuple[Any, ...]
Placed = tuple[tuple[int, int], Row]
_NAMES: tuple[dict[str, str], ...] = (
    {}, {"x": "y", "y": "x"}, {"k": "card no", "at": "k"}, {"id": "n", "n": "id"}, {"at": "w", "w": "at", "c0": "C"},
    {"k2": "x2", "lw": "lists.words", "m": "é"},
)  # fmt: skip
"""What branches call columns: other names, and each other's."""
_LACKED = ("k", "k2", "x", "n", "ok", "c0", "d", "w", "m", "g", "li", "lw", "lx")


@st.composite
def _branch(draw: st.DrawFn, name: str, fields: Sequence[Field]) -> Branch:
    kinds = {f.name: f.type for f in fields}
    lacks = draw(st.lists(st.sampled_from(_LACKED), max_size=2, unique=True))
    values = {column: to_json(draw(draw(PALETTES[kinds[column]])), kinds[column]) for column in lacks}
    return Branch(name=name, columns=draw(st.sampled_from(_NAMES)), values=values)


@st.composite
def branches(draw: st.DrawFn, fields: Sequence[Field]) -> tuple[Branch, ...]:
    """Two or three branches of a source with these columns."""
    return tuple(draw(_branch(name, fields)) for name in "abc"[: draw(st.integers(2, 3))])


def branch_of(known: Sequence[Branch], sequence: int) -> Branch:
    """The branch that a sequence belongs to."""
    return known[sequence % len(known)]


def standing(known: Sequence[Branch], sequence: int, fields: Sequence[Field], event: Row) -> Row:
    """The event with the values that stand in the columns that its branch lacks."""
    if not known:
        return event
    values = branch_of(known, sequence).values
    pairs = zip(fields, event, strict=True)
    return tuple(parse_json(values[f.name], f.type) if f.name in values else value for f, value in pairs)


def by_lines(source: EventSource, rows: Sequence[Placed]) -> Iterator[Placed]:
    """The events as the stream reads them: a JSON line each, in the words of its branch."""
    decoders = {b.name: Decoder(source, branch=b) for b in source.branches}
    for place, values in rows:
        branch = branch_of(source.branches, place[0])
        pairs = [(f, v) for f, v in zip(source.fields, values, strict=True) if f.name not in branch.values]
        line = {branch.columns.get(f.name, f.name): to_json(value, f.type) for f, value in pairs}
        yield place, decoders[branch.name].decode(orjson.dumps(line))


def by_files(source: EventSource, rows: Sequence[Placed]) -> pa.Table:
    """The events as an import reads them: a Parquet file for each sequence, in the words of its branch."""
    with TemporaryDirectory(prefix="onefold-branches-") as folder:
        tables = [
            _imported(Path(folder), source, sequence, [r for r in rows if r[0][0] == sequence])
            for sequence in dict.fromkeys(place[0] for place, _ in rows)
        ]
    return pa.concat_tables(tables)


def _imported(folder: Path, source: EventSource, sequence: int, rows: Sequence[Placed]) -> pa.Table:
    branch, path = branch_of(source.branches, sequence), folder / f"{sequence}.parquet"
    columns = zip(source.fields, zip(*(values for _, values in rows), strict=True), strict=True)
    present = [(f, c) for f, c in columns if f.name not in branch.values]
    own = {branch.columns.get(f.name, f.name): from_internal(list(c), f.type) for f, c in present}
    pq.write_table(pa.table(own), path)
    found = pa.concat_tables(ImportFile(path, source, branch=branch).events(after=-1, reject=_refused, progress=id))
    offsets = pa.array([place[1] for place, _ in rows], pa.int64())
    numbers = pa.array([sequence] * len(rows), pa.int32())
    return found.drop_columns(["_offset"]).append_column("_sequence", numbers).append_column("_offset", offsets)


def _refused(offset: int, reason: str, original: bytes) -> None:
    raise AssertionError(f"row {offset} was refused: {reason}")
