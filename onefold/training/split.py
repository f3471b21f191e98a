"""The one split there is: train before a moment, evaluate from it on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from onefold.features.errors import InputError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class TimeSplit:
    """Indices of the rows before the cut and of those from it on, both in the table's order. `cut`: µs, UTC."""

    train: np.ndarray
    evaluation: np.ndarray
    cut: int


def parse_cut(cut: datetime | str) -> int:
    """A moment as microseconds since 1970 UTC; a date is its first moment.

    >>> parse_cut("1970-01-02")
    86400000000
    """
    try:
        moment = datetime.fromisoformat(cut) if isinstance(cut, str) else cut
    except ValueError as error:
        raise InputError(f"cut {cut!r} is no moment; write it as 2013-10-01 or 2013-10-01T05:00:00+00:00") from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    past = moment - _EPOCH
    return (past.days * 86400 + past.seconds) * 1_000_000 + past.microseconds


def split_by_time(times: np.ndarray, labelled: np.ndarray, cut: datetime | str) -> TimeSplit:
    """Split rows by their time (µs UTC, [n]), leaving out those not `labelled` ([n] of bool).

    A time without a zone is UTC. Raises InputError where a side would be empty.
    """
    moment = parse_cut(cut)
    before = times < moment
    split = TimeSplit(np.flatnonzero(before & labelled), np.flatnonzero(~before & labelled), moment)
    if not len(split.train) or not len(split.evaluation):
        known = times[labelled]
        span = f"{_text(known.min())} to {_text(known.max())}" if len(known) else "nowhere: no row has a label"
        raise InputError(
            f"cut {_text(moment)} leaves {len(split.train):,} rows before it and {len(split.evaluation):,} after; "
            f"labelled rows lie from {span}: choose a cut between"
        )
    return split


def _text(micros: int) -> str:
    return str(np.datetime64(int(micros), "us"))
