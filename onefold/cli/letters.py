"""`dead-letters`: the events that could not be taken, each with its reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from onefold.cli.console import JsonOption, ProjectOption, note, say_done, say_json, say_table

if TYPE_CHECKING:
    from onefold.features.definitions import EventSource
    from onefold.wiring import Workspace

_WIDTH = 60


@dataclass(frozen=True, slots=True)
class _Shown:
    """One letter: where the event stood, why it was refused, and its text (escaped where it is none)."""

    source: str
    place: str
    offset: int
    reason: str
    original: str


def dead_letters(
    source: Annotated[str | None, typer.Argument(help="Only of this source.", show_default=False)] = None,
    limit: Annotated[int, typer.Option(min=0, help="How many to show, the newest of each place last.")] = 20,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """Events that could not be taken, from files and from the topics beside the sources' own, with their reasons."""
    from onefold.features.errors import NotFoundError, nearest
    from onefold.wiring import Workspace

    workspace = Workspace.find(project)
    sources = workspace.project.sources
    if source is not None and source not in sources:
        raise NotFoundError(f"source {source!r} is not defined{nearest(source, sources)}")
    wanted = [s for name, s in sources.items() if source in (None, name)]
    letters = [letter for s in wanted for letter in (*_of_files(workspace, s), *_of_topics(workspace, s))]
    shown = letters[max(0, len(letters) - limit) :]
    if json:
        say_json({"count": len(letters), "letters": [asdict(x) for x in shown]})
        return
    if not letters:
        say_done("no dead letters")
        return
    reasons = Counter((x.source, x.reason) for x in letters)
    say_table(("source", "reason", "events"), [(s, r, f"{n:,}") for (s, r), n in reasons.most_common(20)])
    say_table(
        ("place", "offset", "event"), [(x.place, f"{x.offset:,}", x.original[:_WIDTH]) for x in shown], title="newest"
    )
    note(f"{len(letters):,} in all; --limit shows more of them, --json all of their text")


def _of_files(workspace: Workspace, source: EventSource) -> Iterator[_Shown]:
    name = source.name
    feeds = {number: feed for feed, number in workspace.archive.sequences(name).items()}
    for letter in workspace.dead_letters.read(name):
        place = feeds.get(letter.sequence, f"sequence {letter.sequence}")
        yield _Shown(name, place, letter.offset, letter.reason, _text(letter.original))


def _of_topics(workspace: Workspace, source: EventSource) -> Iterator[_Shown]:
    for letter in workspace.letters_in_topics(source):
        place, _, offset = letter.key.rpartition(":")
        yield _Shown(source.name, place, int(offset), letter.headers["reason"], _text(letter.original))


def _text(original: bytes) -> str:
    return original.decode(errors="backslashreplace")
