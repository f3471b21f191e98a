"""Scoring single rows of concurrent requests together. A row alone and a row in a batch give the same bits.

Nobody waits for a clock: a batch is what has come to be scored within one turn of the event loop, and no more than
`most` rows. A request that is alone is scored at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onefold.serving.scorer import Model

Row = Sequence[Any]
MOST = 64
"""Rows of a batch, and of a request that still shares one."""
FEWEST = 3
"""Requests under way from which a batch saves more than it costs: a third of the time at four, 40% at sixteen."""


class Batches:
    """Batches of one event loop. Each model has its own.

    busy: how many requests are being answered, as far as is known; a few do not wait for each other.
    """

    def __init__(self, busy: Callable[[], int] = lambda: 1, *, most: int = MOST) -> None:
        self.busy, self._most = busy, most
        self._waiting: dict[Model, list[tuple[Sequence[Row], asyncio.Future[list[float]]]]] = {}

    async def score(self, model: Model, rows: Sequence[Row]) -> list[float]:
        """The scores of rows, as of `Model.score`."""
        if len(rows) >= self._most or self.busy() < FEWEST:
            return model.score(rows)
        loop = asyncio.get_running_loop()
        waiting = self._waiting.setdefault(model, [])
        if not waiting:
            loop.call_soon(self._flush, model)
        future: asyncio.Future[list[float]] = loop.create_future()
        waiting.append((rows, future))
        return await future

    def _flush(self, model: Model) -> None:
        asked = self._waiting.pop(model)
        while asked:
            count, taken = 0, 0
            while taken < len(asked) and (taken == 0 or count + len(asked[taken][0]) <= self._most):
                count += len(asked[taken][0])
                taken += 1
            _score(model, asked[:taken])
            asked = asked[taken:]


def _score(model: Model, asked: Sequence[tuple[Sequence[Row], asyncio.Future[list[float]]]]) -> None:
    try:
        scores = model.score([row for rows, _ in asked for row in rows])
    except Exception as error:  # each of them is told
        for _, future in asked:
            if not future.done():
                future.set_exception(error)
        return
    start = 0
    for rows, future in asked:
        if not future.done():  # whoever gave up is done
            future.set_result(scores[start : start + len(rows)])
        start += len(rows)
