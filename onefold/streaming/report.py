"""What a step of a worker did."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(slots=True)
class StepReport:
    """`records` were polled; of them `events` were taken and `refused` went to the dead letters.

    appended: strings that grew; compacted: strings repacked; corrupt: strings that could not be read for it;
    hot: strings above 1 MB; value_errors: values that overflowed or could not be cast, and are NULL;
    too_old: events that lie below all windows; archived: events committed to the archive.
    """

    records: int = 0
    events: int = 0
    refused: int = 0
    appended: int = 0
    compacted: int = 0
    corrupt: int = 0
    hot: int = 0
    value_errors: int = 0
    too_old: int = 0
    archived: int = 0

    def add(self, more: StepReport) -> None:
        """Count another report in."""
        for f in fields(self):
            setattr(self, f.name, getattr(self, f.name) + getattr(more, f.name))
