"""Onefold definitions, as text, for what a Feast repository defines; and what could not be taken over, with the reason.

A view's feature is the newest row's value: `last_value(x)` over the view's ttl. An aggregation is a window of its own.
"""

from __future__ import annotations

import json
import keyword
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Json = Mapping[str, Any]
_FUNCTIONS = {
    "sum": "sum({0})", "max": "max({0})", "min": "min({0})", "mean": "avg({0})", "avg": "avg({0})",
    "count": "count({0})", "count_distinct": "count(DISTINCT {0})", "nunique": "count(DISTINCT {0})",
    "std": "stddev_samp({0})", "var": "var_samp({0})", "first": "first_value({0})", "last": "last_value({0})",
}  # fmt: skip
_UNITS = ((86_400_000_000, "DAY"), (3_600_000_000, "HOUR"), (60_000_000, "MINUTE"), (1_000_000, "SECOND"))


@dataclass
class Taken:
    """text: of a file of definitions. taken: what stands in it; left: what does not, with the reason and a way on;
    notes: what is not quite as it was."""

    text: str = ""
    taken: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def definitions(found: Json, *, repo: Path, root: Path) -> Taken:
    """Definitions for a project whose folder is `root`, from what `read_repository(repo)` found."""
    return _Writer(found, repo, root).write()


class _Writer:
    def __init__(self, found: Json, repo: Path, root: Path) -> None:
        self._found, self._repo, self._root = found, repo, root
        self._done, self._parts = Taken(), list[str]()
        self._names: dict[tuple[str, str], str] = {}
        self._entities = {e["name"]: e for e in found["entities"]}
        self._sources = {s["name"]: s for s in found["sources"] if self._is_usable(s)}
        self._key_types: dict[str, str] = {}
        self._kinds: set[str] = set()

    def write(self) -> Taken:
        for view in self._found["views"]:
            self._view(view)
        for view in self._found["on_demand"]:
            self._leave_on_demand(view)
        for service in self._found["services"]:
            self._service(service)
        self._done.left += [f"{what}: Onefold has no such thing" for what in self._found["others"]]
        head = f'"""From the Feast repository {self._repo.name!r}, by `onefold import-feast`."""'
        imports = f"from onefold import {', '.join(sorted(self._kinds))}" if self._kinds else ""
        self._done.text = "\n\n".join([head, imports, *self._parts]) + "\n"
        return self._done

    def _is_usable(self, source: Json) -> bool:
        name, columns = source["name"], {c[0]: c[1] for c in source["columns"] or ()}
        why = None
        if source["kind"] != "FileSource":
            why = f"is a {source['kind']}: export it to Parquet files, then name them as path="
        elif source["delta"]:
            why = "is a Delta table: Onefold keeps an archive of its own; export it to Parquet files once"
        elif source["columns"] is None:
            why = f"cannot be read ({source['why']}): bring its files, then import again"
        elif columns.get(source["time"]) != "TIMESTAMP":
            why = f"has times without a zone in {source['time']!r}: write them in UTC (.dt.tz_localize('UTC'))"
        if why is not None:
            self._done.left.append(f"source {name}: it {why}")
        return why is None

    def _view(self, view: Json) -> None:
        name, source = view["name"], self._sources.get(view["source"])
        why = None
        if source is None:
            why = f"its source {view['source']} is left" if view["source"] else "it has no batch source"
        elif view["transformed"] is not None and not view["aggregations"]:
            why = f"a function of mode {view['transformed']} makes its rows: write it as SQL over the source"
        items = [] if source is None else self._items(view, source)
        if why is None and not items:
            why = "none of its features has a type that Onefold has"
        entity = None if why or source is None else self._entity(view, source)
        if why is None and entity is None and view["entities"]:
            why = "its keys have other types than in another view's source, or are not in the source"
        if why is not None or source is None:
            self._done.left.append(f"view {name}: {why}")
            return
        if view["transformed"] is not None:
            self._done.notes.append(f"view {name}: its function of mode {view['transformed']} is left out; the "
                                    "aggregations are over the source's own columns")  # fmt: skip
        windows = sorted({window for _, _, window in items})
        names = {window: f"w{i}" if len(windows) > 1 else "w" for i, window in enumerate(windows)}
        width = max(len(f"{call} OVER {names[window]}") for call, _, window in items)
        lines = ",\n".join(f"{f'{call} OVER {names[w]}':{width}} AS {feature}" for call, feature, w in items)
        clauses = ",\n".join(f"{names[w]} AS ({_range(w)})" for w in windows)
        table = self._source(source)
        of = self._name("source", source["name"])
        sql = f"SELECT\n{_indented(lines, 4)}\nFROM {of}\nWINDOW\n{_indented(clauses, 4)}"
        said = [f"source={table}", *([f"entity={entity}"] if entity else [])]
        self._define("view", name, "FeatureView", [*said, f'sql="""\n{_indented(sql, 8)}\n    """', *_said(view)])
        if view["topic"]:
            self._done.notes.append(f"view {name}: its stream comes from topic {view['topic']!r}; give its source "
                                    "topic= and a format (docs/kafka.md) to take it")  # fmt: skip

    def _items(self, view: Json, source: Json) -> list[tuple[str, str, int]]:
        """(call, feature, window in microseconds or 0 for ever) of each feature that can be taken."""
        back = {new: old for old, new in source["mapping"].items()}
        types = {c[0]: (c[1], c[2]) for c in source["columns"]}
        items = []
        for made in view["aggregations"]:
            call, column = _FUNCTIONS.get(made["function"]), back.get(made["column"], made["column"])
            if call is None or types.get(column, (None,))[0] is None:
                self._done.left.append(f"feature {view['name']}.{made['name']}: {made['function']}({made['column']}) "
                                       "has no counterpart; docs/functions.md lists what there is")  # fmt: skip
                continue
            items.append((call.format(_identifier(column)), _feature(made["name"]), made["window"]))
            if made["slide"] not in (0, made["window"]):
                self._done.notes.append(f"feature {view['name']}.{made['name']}: it slid by steps, and is exact now")
        for name in () if view["aggregations"] else view["features"]:
            column = back.get(name, name)
            kind, theirs = types.get(column, (None, "not in the source"))
            if kind is None:
                self._done.left.append(f"feature {view['name']}.{name}: {theirs}, a type that Onefold has not; take "
                                       "what you need of it into columns of their own")  # fmt: skip
                continue
            items.append((f"last_value({_identifier(column)})", _feature(name), view["ttl"]))
        return items

    def _entity(self, view: Json, source: Json) -> str | None:
        known = [self._entities.get(name, {"name": name, "key": name} | _NOTHING) for name in view["entities"]]
        if not known:
            return None
        back = {new: old for old, new in source["mapping"].items()}
        types = {c[0]: c[1] for c in source["columns"]}
        keys = {back.get(e["key"], e["key"]): types.get(back.get(e["key"], e["key"])) for e in known}
        if any(kind is None or self._key_types.setdefault(k, kind) != kind for k, kind in keys.items()):
            return None
        name = "_".join(e["name"] for e in known)
        said = _said(known[0]) if len(known) == 1 else []
        return self._define("entity", name, "Entity", [f"keys={keys!r}".replace("'", '"'), *said])

    def _source(self, source: Json) -> str:
        where = self._repo / source["path"]
        path = os.path.relpath(where, self._root) if not Path(source["path"]).is_absolute() else source["path"]
        columns = "".join(f'        "{name}": "{kind}",\n' for name, kind, _ in source["columns"] if kind is not None)
        said = [f"schema={{\n{columns}    }}", f'event_time="{source["time"]}"', f'path="{path}"', *_said(source)]
        known = ("source", source["name"]) in self._names
        made = self._define("source", source["name"], "EventSource", said)
        if source["created"] and not known:
            self._done.notes.append(f"source {source['name']}: of rows of one key and time the last of the file "
                                    f"counts, not the one that {source['created']!r} says is newest")  # fmt: skip
        return made

    def _leave_on_demand(self, view: Json) -> None:
        features = ", ".join(view["features"])
        self._done.left.append(f"on-demand view {view['name']} ({features}): it is a Python function; write it as SQL, "
                               "its text is in the file")  # fmt: skip
        text = _commented(view["text"].strip() or "(its text is not kept)")
        below = [v for v in view["views"] if ("view", v) in self._names]
        request = ", ".join(f'"{name}": "{_REQUEST.get(kind, kind)}"' for name, kind in view["request"].items())
        sketch = f"# {_variable(view['name'])} = OnDemandView(\n" + "".join(
            f"#     {line},\n"
            for line in (
                f'name="{view["name"]}"', f"views=[{', '.join(self._names['view', v] for v in below)}]",
                f"request={{{request}}}", f'sql="SELECT ... AS {view["features"][0] if view["features"] else "x"}"',
            )
        )  # fmt: skip
        self._parts.append(f"# On-demand view {view['name']!r} is left to you. In Feast it is\n{text}\n{sketch}# )")

    def _service(self, service: Json) -> None:
        chosen, missing = [], []
        for selected in service["selected"]:
            known = self._names.get(("view", selected["view"]))
            if known is None or selected["keys"]:
                missing.append(selected["view"])
                continue
            names = [_feature(n) for n in selected["features"] if f"{selected['view']}.{n}" not in self._left_features]
            chosen.append(f"{known}[{', '.join(map(_quoted, names))}]" if len(names) == 1 else f"{known}[{names!r}]")
        if not chosen:
            self._done.left.append(f"service {service['name']}: none of its views could be taken")
            return
        listed = ", ".join(chosen).replace("'", '"')
        self._define("service", service["name"], "FeatureService", [f"features=[{listed}]", *_said(service)])
        for view in missing:
            self._done.notes.append(
                f"service {service['name']}: without {view}, which is left, or joined under an alias"
            )

    @property
    def _left_features(self) -> set[str]:
        return {line.split(":")[0].removeprefix("feature ") for line in self._done.left if line.startswith("feature ")}

    def _name(self, kind: str, name: str) -> str:
        return re.sub(r"\W", "_", Path(name).stem if "/" in name else name) if kind != "view" else _feature(name)

    def _define(self, kind: str, name: str, call: str, said: Sequence[str]) -> str:
        """The variable of a definition, which is written when it is first asked for."""
        if (kind, name) in self._names:
            return self._names[kind, name]
        ours = self._name(kind, name)
        variable = _variable(ours)
        while variable in self._names.values():
            variable = f"{variable}_{kind}"
        self._names[kind, name] = variable
        self._kinds.add(call)
        arguments = "".join(f"    {line},\n" for line in [f'name="{ours}"', *said])
        self._parts.append(f"{variable} = {call}(\n{arguments})")
        self._done.taken.append(f"{kind} {name}" + (f" (as {ours})" if ours != name else ""))
        return variable


_NOTHING = {"description": "", "owner": "", "tags": {}}
_REQUEST = {"Int64": "BIGINT", "Int32": "BIGINT", "Float64": "DOUBLE", "Float32": "DOUBLE", "String": "VARCHAR",
            "Bool": "BOOLEAN", "UnixTimestamp": "TIMESTAMP"}  # fmt: skip


def _said(made: Json) -> list[str]:
    return [f"{n}={json.dumps(made[n], ensure_ascii=False)}" for n in ("description", "owner", "tags") if made[n]]


def _range(window: int) -> str:
    if not window:
        return "RANGE UNBOUNDED PRECEDING"
    size, unit = next(((s, u) for s, u in _UNITS if window % s == 0), (1, "MICROSECOND"))
    count = window // size
    return f"RANGE BETWEEN INTERVAL {count} {unit}{'S' if count != 1 else ''} PRECEDING AND CURRENT ROW"


def _indented(text: str, spaces: int) -> str:
    return "\n".join(" " * spaces + line for line in text.splitlines())


def _commented(text: str) -> str:
    return "\n".join(f"#     {line}".rstrip() for line in text.splitlines())


def _identifier(column: str) -> str:
    return column if re.fullmatch(r"[a-z_][a-z0-9_]*", column) else '"' + column.replace('"', '""') + '"'


def _feature(name: str) -> str:
    return re.sub(r"\W", "_", name)


def _quoted(name: str) -> str:
    return f'"{name}"'


def _variable(name: str) -> str:
    return f"{name}_" if keyword.iskeyword(name) else name
