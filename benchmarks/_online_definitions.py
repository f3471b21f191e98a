"""What online.py looks up: 50 features in 5 views over one source. A server of the same loads this file too."""

from __future__ import annotations

from onefold.features.definitions import Definition, Entity, EventSource, FeatureService, FeatureView

VIEWS = ("amount", "items", "discount", "minutes", "distance")
FEATURES = tuple(
    f"{fn}({{x}}) OVER (RANGE BETWEEN INTERVAL {window} PRECEDING AND CURRENT ROW)"
    for window in ("1 HOUR", "1 DAY", "7 DAYS") for fn in ("sum", "avg", "max")
)  # fmt: skip
LAST = "last_value({x}) OVER (RANGE BETWEEN INTERVAL 7 DAYS PRECEDING AND CURRENT ROW)"


def definitions() -> list[Definition]:
    """The views, the service `all` with all of their features, and `thirty` with those of the first three."""
    schema = {"user": "VARCHAR", "ts": "TIMESTAMP", **dict.fromkeys(VIEWS, "DOUBLE")}
    orders = EventSource(name="orders", schema=schema, event_time="ts")
    user = Entity(name="user", keys={"user": "VARCHAR"})
    views = []
    for x in VIEWS:
        columns = ", ".join(f"{sql.format(x=x)} AS {x}_{i}" for i, sql in enumerate((*FEATURES, LAST)))
        views.append(FeatureView(name=x, source=orders, entity=user, sql=f"SELECT {columns} FROM orders"))
    return [*views, FeatureService(name="all", features=views), FeatureService(name="thirty", features=views[:3])]


for _made in definitions():
    globals()[_made.name] = _made
