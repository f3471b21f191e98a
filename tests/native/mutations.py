"""States with something wrong in them."""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence

_EXTREMES = (0, 1, 7, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1)


def mutated(dice: random.Random, states: Sequence[bytes]) -> bytes:
    """One of the states with a few faults."""
    state = bytearray(dice.choice(states))
    for _ in range(dice.choice((1, 1, 1, 2, 5))):
        _spoil(dice, state, states)
    return bytes(state)


def _spoil(dice: random.Random, state: bytearray, states: Sequence[bytes]) -> None:
    at = dice.randrange(len(state) + 1) if dice.random() < 0.7 else dice.randrange(min(len(state), 80) + 1)
    match dice.randrange(8):
        case 0:
            del state[at:]
        case 1:
            del state[at : at + dice.choice((1, 4, 8, 40))]
        case 2:
            state[at : at + 1] = bytes((dice.randrange(256),))
        case 3 if state:
            at = min(at, len(state) - 1)
            state[at] ^= 1 << dice.randrange(8)
        case 4:
            state[at : at + 4] = struct.pack("<I", dice.choice((*_EXTREMES, len(state), len(state) - at)))
        case 5:
            state[at : at + 8] = struct.pack("<Q", dice.choice((*_EXTREMES, 2**63 - 1, 2**63, 2**64 - 1)))
        case 6:
            state[at:at] = dice.randbytes(dice.choice((1, 4, 60)))
        case _:
            other = dice.choice(states)
            start = dice.randrange(len(other) + 1)
            state[at:] = other[start : start + dice.choice((8, 60, len(other)))]
