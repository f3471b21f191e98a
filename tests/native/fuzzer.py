"""Spoiled states through one build of the kernel: python -m tests.native.fuzzer MODULE [--first 0] [--seeds 100]

It runs below sanitizers, which end the process where the kernel goes astray. Where it takes a spoiled state, and the
codec does too, the values must be those of the Python fold.
"""

from __future__ import annotations

import argparse
import importlib.util
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from onefold.features.codec import read_head
from onefold.features.errors import StateError
from onefold.features.state import StateCodec
from tests.native.cases import both, case, shown
from tests.native.mutations import mutated
from tests.native.replies import in_a_reply, pieces, reply

NAME = "onefold.features._kernel"
ROUNDS = 60
"""Spoiled states of each case."""


def use(module: Path) -> None:
    """Take this build for the kernel."""
    spec = importlib.util.spec_from_file_location(NAME, module)
    assert spec is not None and spec.loader is not None
    sys.modules[NAME] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[NAME])


def one(seed: int) -> tuple[int, int]:
    """How many spoiled states of a case were read, and how many of these were no states."""
    found = case(seed, most=20)
    dice = random.Random(seed)
    native, _, python, _ = both(found.layout, found.slots)
    codec = StateCodec(found.layout)
    states = [mutated(dice, found.states) for _ in range(ROUNDS)]
    times = [dice.choice(found.times) for _ in states]
    readings = native.many(states, times)  # each in bytes of its own: behind them lies nothing
    within = native.many(in_a_reply(sys.modules[NAME].Replies(), states), times)
    for state, t, reading, other in zip(states, times, readings, within, strict=True):
        assert shown(other) == shown(reading), f"seed {seed}: {state!r} at {t}: {other} within a reply"
        if not isinstance(reading, StateError) and _is_sound(codec, state):
            (want,) = python.many([state], [t])
            assert shown(reading) == shown(want), f"seed {seed}: {state!r} at {t}: {reading} is to be {want}"
    return len(states), sum(isinstance(r, StateError) for r in readings)


def spoiled_replies(seed: int) -> None:
    """Replies with faults, in pieces: read or refused; states within them are read too."""
    dice = random.Random(seed)
    for _ in range(ROUNDS):
        replies = sys.modules[NAME].Replies()
        data = b"".join(reply(dice) for _ in range(dice.randrange(1, 5)))
        held, count = [], dice.choice((1, 2, 3))
        for part in pieces(dice, mutated(dice, [data]) if dice.random() < 0.9 else data):
            replies.feed(part)
            try:
                while (lot := replies.next(count)) is not None:
                    held.append([one if isinstance(one, bytes) else one[dice.randrange(3) :] for one in lot])
            except ValueError:
                break
        assert all(len(list(one)) == len(one) for lot in held for one in lot)


def _is_sound(codec: StateCodec, state: bytes) -> bool:
    """Whether the codec takes it, and its head is in the order that heads have."""
    try:
        codec.decode(state)
    except StateError:
        return False
    head = read_head(state, codec.layout.types).events()
    places = list(zip(head.ts, head.sequences, strict=True))
    return places == sorted(places)


def _seeds(given: argparse.Namespace) -> Iterator[int]:
    end = None if given.seconds is None else time.monotonic() + given.seconds
    seed = given.first
    while seed < given.first + given.seeds if end is None else time.monotonic() < end:
        yield seed
        seed += 1


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.native.fuzzer")
    parser.add_argument("module", type=Path)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--seconds", type=float)
    given = parser.parse_args()
    use(given.module)
    read = corrupt = cases = 0
    for seed in _seeds(given):
        print(f"seed {seed}", file=sys.stderr, flush=True)
        some, wrong = one(seed)
        spoiled_replies(seed)
        read, corrupt, cases = read + some, corrupt + wrong, cases + 1
    print(f"{read:,} spoiled states of {cases:,} layouts; {corrupt:,} were refused, none did harm")


if __name__ == "__main__":
    main()
