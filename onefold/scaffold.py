"""A new project: the files of `templates/project`, and data that is made on the spot."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING

from onefold.features.clock import now_micros
from onefold.features.errors import ConfigError

if TYPE_CHECKING:
    import pyarrow as pa

CUSTOMERS, ORDERS, BASKETS, DAYS = 200, 12_000, 3_000, 60
_HOUR = 3_600_000_000
_DAY = 24 * _HOUR
_CATEGORIES = ("books", "garden", "kitchen", "toys")


def create(name: str, folder: Path, *, now: int | None = None) -> Path:
    """Make the project `name` in `folder` (which must be absent or empty), whole or not at all; its absolute path.

    now: where its data ends, in microseconds since 1970 UTC; the present hour by default. Raises ConfigError.
    """
    if not (name.isascii() and name.isidentifier()) or name.startswith("_"):
        raise ConfigError(f"project name {name!r} is not right; use letters, digits and '_', a letter first")
    target = folder.resolve()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigError(f"{target} is there and not empty; nothing was written: name another folder with --folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as scratch:
        fresh = Path(scratch, "project")
        with as_file(files("onefold") / "templates" / "project") as template:
            shutil.copytree(template, fresh, ignore=shutil.ignore_patterns("__pycache__"))
        _fill_in(fresh, name)
        _write_data(fresh / "data", now if now is not None else now_micros() // _HOUR * _HOUR)
        if target.exists():
            target.rmdir()
        os.rename(fresh, target)
    return target


def _fill_in(folder: Path, name: str) -> None:
    for path in (folder / "onefold.toml", folder / "README.md"):
        path.write_text(path.read_text(encoding="utf-8").replace("__NAME__", name), encoding="utf-8")


@dataclass(frozen=True, slots=True)
class _Order:
    customer: int
    amount: float
    category: str
    at: int


def _orders(end: int) -> Iterator[_Order]:
    """Orders in order of time; some customers buy much more than others, and each has a favourite."""
    draw = random.Random(42)
    weights = [draw.paretovariate(1.2) for _ in range(CUSTOMERS)]
    favourite = [draw.choice(_CATEGORIES) for _ in range(CUSTOMERS)]
    times = sorted(end - draw.randrange(DAYS * _DAY) for _ in range(ORDERS))
    for at in times:
        customer = draw.choices(range(CUSTOMERS), weights)[0]
        category = favourite[customer] if draw.random() < 0.6 else draw.choice(_CATEGORIES)
        yield _Order(customer + 1, round(draw.lognormvariate(3.5, 0.6), 2), category, at)


def _write_data(folder: Path, end: int) -> None:
    import pyarrow.parquet as pq

    folder.mkdir()
    orders = list(_orders(end))
    pq.write_table(_order_table(orders), folder / "orders.parquet")
    pq.write_table(_basket_table(orders, end), folder / "baskets.parquet")


def _order_table(orders: list[_Order]) -> pa.Table:
    import pyarrow as pa

    return pa.table(
        {
            "order_id": pa.array([f"o{i:06}" for i in range(len(orders))]),
            "customer_id": pa.array([o.customer for o in orders], pa.int64()),
            "amount": pa.array([o.amount for o in orders]),
            "category": pa.array([o.category for o in orders]),
            "ordered_at": pa.array([o.at for o in orders], pa.timestamp("us", tz="UTC")),
        }
    )


def _basket_table(orders: list[_Order], end: int) -> pa.Table:
    """Baskets of the second month; the further above a customer's average, the likelier they come back."""
    import pyarrow as pa

    draw = random.Random(43)
    later = [o for o in orders if o.at > end - DAYS // 2 * _DAY]
    chosen = sorted(draw.sample(later, min(BASKETS, len(later))), key=lambda o: o.at)
    totals = [round(o.amount * draw.lognormvariate(0, 0.5), 2) for o in chosen]
    returned = [draw.random() < min(0.9, 0.1 + 0.2 * max(0.0, total / 36.0 - 1)) for total in totals]
    return pa.table(
        {
            "customer_id": pa.array([o.customer for o in chosen], pa.int64()),
            "event_timestamp": pa.array([o.at - 1 for o in chosen], pa.timestamp("us", tz="UTC")),
            "basket_total": pa.array(totals),
            "returned": pa.array(returned),
        }
    )
