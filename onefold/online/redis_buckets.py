"""Where a name lives in a Redis Cluster: in one of 64 buckets, each of which is one slot of the cluster.

A bucket is a hash tag in front of the stored name: names of one bucket are on one node, so that one MGET reads them.
The tags are chosen so that the slots of the buckets are spread evenly, 256 apart. All pointers of a source are in one
bucket, so that they flip at one moment.
"""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Iterable
from zlib import crc32

BUCKETS = 64
SLOTS = 16_384
_POINTER = b"p/"


def _slot(tag: bytes) -> int:
    return crc_hqx(tag, 0) % SLOTS


def _tags() -> tuple[bytes, ...]:
    """For each bucket the first tag `b0`, `b1`, .. whose slot lies in its 64th of the slots."""
    found: dict[int, bytes] = {}
    number = 0
    while len(found) < BUCKETS:
        tag = b"b%d" % number
        found.setdefault(_slot(tag) * BUCKETS // SLOTS, tag)
        number += 1
    return tuple(found[bucket] for bucket in range(BUCKETS))


_TAGS = _tags()
TAGGED = tuple(b"{%b}" % tag for tag in _TAGS)
"""What stands before the names of each bucket."""
SLOT_OF = tuple(_slot(tag) for tag in _TAGS)


def bucket_of(name: bytes) -> int:
    """The bucket of a name. Part of what is stored: it never changes.

    >>> bucket_of(b"p/orders/user") == bucket_of(b"p/orders/shop")
    True
    """
    if name.startswith(_POINTER):
        return crc32(b"/".join(name.split(b"/", 2)[:2])) % BUCKETS
    return crc32(name) % BUCKETS


def placed(name: bytes) -> tuple[int, bytes]:
    """(bucket, stored name) of a name."""
    bucket = bucket_of(name)
    return bucket, TAGGED[bucket] + name


def is_pointer(name: bytes) -> bool:
    return name.startswith(_POINTER)


def joined_marks(found: Iterable[dict[int, int]]) -> dict[int, int]:
    """What the marks of some buckets say together.

    How far they all are is the lowest: a node that lost writes shows. What they are known to have held (a field below
    0) is the highest.

    >>> joined_marks([{0: 7, 1: 3, -1: 2}, {0: 5, -1: 9}])
    {0: 5, -1: 9}
    """
    kept, *others = found
    joined = {field: min([offset, *(o[field] for o in others)]) for field, offset in kept.items()
              if field >= 0 and all(field in o for o in others)}  # fmt: skip
    for marks in (kept, *others):
        for field, offset in marks.items():
            if field < 0:
                joined[field] = max(offset, joined.get(field, offset))
    return joined
