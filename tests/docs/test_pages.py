"""The pages under docs/ say what the code does: their examples run, their tables are its own."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from onefold import Entity, EventSource, FeatureView
from onefold.config import Settings
from onefold.demo.faults import Fault
from onefold.features.errors import DefinitionError
from onefold.features.project import Project
from onefold.online.lookup import STATUSES
from onefold.serving.metrics import Metrics
from onefold.verify import Cause

from .conftest import ROOT, blocks

DOCS = ROOT / "docs"
ORDERS = EventSource(
    name="orders",
    schema={"customer": "BIGINT", "amount": "DOUBLE", "category": "VARCHAR", "unit_price": "DOUBLE",
            "quantity": "DOUBLE", "ordered_at": "TIMESTAMP"},
    event_time="ordered_at",
)  # fmt: skip
CUSTOMER = Entity(name="customer", keys={"customer": "BIGINT"})
D7 = "WINDOW d7 AS (RANGE BETWEEN INTERVAL 7 DAYS PRECEDING AND CURRENT ROW)"


def script(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def view(sql: str) -> Project:
    return Project.of(FeatureView(name="v", source=ORDERS, entity=CUSTOMER, sql=sql))


def examples() -> Iterator[Any]:
    for page in sorted(DOCS.glob("*.md")):
        for code, output in pairwise(blocks(page)):
            if (code.language, output.language) == ("python", "text"):
                yield pytest.param(code.text, output.text, id=f"{page.stem}: {code.heading}")


@pytest.mark.parametrize(("code", "output"), list(examples()))
def test_python_examples_print_what_they_say(code: str, output: str) -> None:
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    assert run.stdout == output


@pytest.mark.parametrize("page", ["sql.md", "functions.md", "cli.md"])
def test_generated_parts_are_up_to_date(page: str) -> None:
    text = (DOCS / page).read_text()
    assert script(DOCS / "reference.py").rendered(text) == text, "try: python docs/reference.py"


def test_figures_are_those_that_the_script_draws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    drawing = script(DOCS / "figures" / "draw.py")
    monkeypatch.setattr(drawing, "HERE", tmp_path)
    drawing.main()
    for name in drawing.FIGURES:
        assert (tmp_path / f"{name}.svg").stat().st_size == (DOCS / "figures" / f"{name}.svg").stat().st_size


def test_the_leaks_figure_shows_the_numbers_of_its_page() -> None:
    text = (DOCS / "leak.md").read_text()
    for name, numbers in script(DOCS / "figures" / "draw.py").LEAK.items():
        assert f"| {name} | {' | '.join(f'{n:.3f}' for n in numbers)} |" in text


def test_the_view_of_the_sql_page_is_one() -> None:
    (sql,) = [b.text for b in blocks(DOCS / "sql.md") if b.language == "sql"]
    assert [f.name for f in view(sql).views["v"].features] == ["orders_7d", "toys_7d", "spread_7d"]


def authored_pairs() -> Iterator[Any]:
    for sql, python in pairwise(blocks(DOCS / "authoring.md")):
        if (sql.language, python.language) == ("sql", "python"):
            yield pytest.param(sql.text, python.text, id=sql.heading)


@pytest.mark.parametrize(("sql", "python"), list(authored_pairs()))
def test_python_of_the_authoring_page_is_the_sql_beside_it(sql: str, python: str, tmp_path: Path) -> None:
    first, *_ = [b.text for b in blocks(DOCS / "authoring.md") if b.language == "python"]
    (tmp_path / "page.py").write_text(f"from onefold import *\n{first.partition('print(')[0]}{python}")
    page = script(tmp_path / "page.py")
    more = {"source": page.orders, "entity": page.customer}
    written = FeatureView(name="v", features=page.features, where=getattr(page, "where", None), **more)
    wanted = Project.of(FeatureView(name="v", sql=sql, **more)).views["v"]
    found = Project.of(written).views["v"]
    assert [(f.name, f.fingerprint) for f in found.features] == [(f.name, f.fingerprint) for f in wanted.features]


def refusals() -> list[tuple[str, str]]:
    table = (DOCS / "sql.md").read_text().partition("| refused | instead |")[2]
    return re.findall(r"^\| `(.+?)` \| `(.+?)` \|$", table, re.MULTILINE)


@pytest.mark.parametrize(("refused", "instead"), refusals())
def test_what_is_refused_says_so_and_what_stands_beside_it_is_taken(refused: str, instead: str) -> None:
    with pytest.raises(DefinitionError) as error:
        view(f"SELECT {refused} AS x FROM orders {D7}")
    assert error.value.line == 1
    assert view(f"SELECT {instead} AS x FROM orders {D7}").views["v"].features


def test_settings_of_the_page_are_the_defaults(tmp_path: Path) -> None:
    (text,) = [b.text for b in blocks(DOCS / "cli.md") if b.language == "toml"]
    written = tomllib.loads(text)
    (tmp_path / "onefold.toml").write_text(text)
    settings = Settings.load(tmp_path)
    (tmp_path / "onefold.toml").write_text('[project]\nname = "shop"\n')
    plain = Settings.load(tmp_path)
    assert settings == plain
    for section, model in plain:
        assert set(written[section]) == set(type(model).model_fields)


def test_every_cause_of_a_mismatch_and_every_status_is_named() -> None:
    text = " ".join((DOCS / "concepts.md").read_text().split())
    assert not [c.value for c in Cause if c.value not in text]
    assert not [s for s in STATUSES if f"| `{s}` |" not in text]


def test_every_fault_of_the_demo_is_named() -> None:
    text = (ROOT / "onefold" / "examples" / "flights" / "README.md").read_text()
    assert not [f.value for f in Fault if f"`{f.value}`" not in text]


def test_every_metric_is_on_the_page() -> None:
    names = {m.name for m in Metrics().registry.collect()}
    text = (DOCS / "api.md").read_text()
    assert not {n for n in names if n not in text}


def test_every_decision_and_page_is_listed() -> None:
    for folder in (DOCS, DOCS / "adr"):
        listed = (folder / "README.md").read_text()
        assert not [p.name for p in folder.glob("*.md") if p.name != "README.md" and f"({p.name})" not in listed]
