"""Which source each topic feeds, and the names by which its partitions are registered.

A feed is one partition of one incarnation of a topic, `topic@id/partition`, so a topic that is deleted and made anew is
a new sequence. Where a partition was restarted behind a loss, it is `topic@id/partition+first`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from onefold.features.errors import DefinitionError
from onefold.features.project import Project
from onefold.streaming.feeds import registered_name
from onefold.streaming.kafka_client import Topic

Known = Callable[[str], Iterable[str]]
"""The names that are registered for a source (`Archive.sequences`)."""


def sources_of(project: Project) -> dict[str, str]:
    """The source (`source` or `source.branch`) of each topic; DefinitionError where a topic feeds two."""
    found: dict[str, str] = {}
    for source in project.sources.values():
        said = [(source.topic, source.name), *((b.topic, f"{source.name}.{b.name}") for b in source.branches)]
        for topic, name in said:
            if topic is not None and found.setdefault(topic, name) != name:
                raise DefinitionError(f"topic {topic!r} feeds {found[topic]!r} and {name!r}; a topic feeds one source")
    return found


def fed_sources(project: Project) -> dict[str, str]:
    """The same; DefinitionError also where no source has a topic."""
    found = sources_of(project)
    if not found:
        raise DefinitionError('no source has a topic; name one, as EventSource(topic="orders", ..)')
    return found


def feed_name(topic: Topic, partition: int) -> str:
    """By what a partition of one incarnation of a topic is registered."""
    return f"{topic.name}@{topic.id}/{partition}"


def newest(base: str, source: str, known: Known) -> str:
    """The name by which a partition goes on: the last one by which it was restarted, if it ever was."""
    start = registered_name(source, f"{base}+")
    firsts = [int(n.removeprefix(start)) for n in known(source.partition(".")[0]) if n.startswith(start)]
    return f"{base}+{max(firsts)}" if firsts else base


def goes_by(
    name: str, source: str, sources: Mapping[str, str], found: Mapping[str, Topic], known: Known
) -> bool | None:
    """Whether a partition of the topics that were found goes by a name now; None where it is of none of these topics.

    sources: what each topic feeds.
    """
    for topic, feeds in sources.items():
        start = registered_name(feeds, f"{topic}@")
        if feeds.partition(".")[0] == source and name.startswith(start) and topic in found:
            name = name.removeprefix(registered_name(feeds, ""))
            base = name.partition("+")[0]
            bases = {feed_name(found[topic], number) for number in range(found[topic].partitions)}
            return base in bases and newest(base, feeds, known) == name
    return None
