from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]

COMMANDS = (
    "init", "plan", "apply", "list", "describe", "materialize", "stream", "get", "training-set", "train", "serve",
    "keys", "verify", "demo",
)  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(run: Run, command: str) -> None:
    answer = run(command, "--help")
    assert answer.code == 0 and f"onefold {command}" in answer.out
    assert run("--help").out.count(f"\n  {command} ") == 1


@pytest.mark.parametrize("args", [["--help"], ["get", "--help"]])
def test_help_loads_nothing_heavy(args: list[str]) -> None:
    code = (
        f"import sys\nfrom onefold.cli import main\ntry: main({args!r})\nexcept SystemExit: pass\n"
        "heavy = {'rich', 'pyarrow', 'duckdb', 'numpy', 'sqlglot', 'feast', 'mlflow', 'onnxruntime',"
        " 'lmdb', 'fastapi', 'deltalake', 'xgboost', 'pandas', 'matplotlib'}\n"
        "found = heavy & set(sys.modules)\nassert not found, found\n"
    )
    if args == ["--help"]:
        code += "assert 'pydantic' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_version_is_told(run: Run) -> None:
    assert run("--version").out.startswith("onefold ")


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["aply"],
        ["plan", "--jsn"],
        ["get"],
        ["get", "customer_spend", "--key", "customer_id"],
        ["get", "customer_spend", "--key", "customer_id=1", "--key", "customer_id=2"],
        ["get", "customer_spend", "--service", "will_return"],
        ["list", "viws"],
        ["stream", "--feed", "orders"],
        ["train", "nowhere", "--task", "guess"],
        ["demo", "--inject", "drop-evnt"],
        ["init"],
        ["init", "my-shop"],
        ["plan", "--project", "nowhere"],
    ],
)
def test_misuse_exits_with_2_and_no_traceback(run: Run, shop: Path, args: list[str]) -> None:
    answer = run(*args)
    assert answer.code == 2
    assert "Traceback" not in answer.err + answer.out


def test_a_command_that_is_misspelt_is_named(run: Run) -> None:
    assert "'apply'" in run("aply").err


def test_demo_leaves_a_folder_alone_that_is_not_its_own(run: Run, shop: Path) -> None:
    answer = run("demo", "--folder", str(shop))
    assert answer.code == 2 and "is not empty" in answer.err
    assert (shop / "onefold.toml").exists()


def test_misuse_is_json_where_json_is_asked_for(run: Run, shop: Path) -> None:
    assert run("plan", "--jsn", "--json").error["code"] == "usage"
    assert run("plan", "--json", "--project", "nowhere").error["code"] == "config"


def test_wrong_definition_fails_with_its_place(run: Run, shop: Path) -> None:
    file = shop / "features" / "definitions.py"
    file.write_text(file.read_text().replace("sum(amount)", "sum(amout)"))
    answer = run("plan")
    assert answer.code == 1
    assert "did you mean 'amount'" in answer.err and "^" in answer.err and "Traceback" not in answer.err


def test_an_error_of_python_in_a_definition_names_file_and_line(run: Run, shop: Path) -> None:
    file = shop / "features" / "definitions.py"
    file.write_text("import nothing_of_that_name\n" + file.read_text())
    answer = run("plan", "--json")
    assert answer.code == 1
    assert "definitions.py, line 1" in answer.error["message"]


def test_an_unforeseen_error_shows_its_traceback_with_debug_only(
    run: Run, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onefold.wiring.Workspace.find", lambda _: 1 // 0)
    answer = run("plan")
    assert answer.code == 1 and "ZeroDivisionError" in answer.err and "Traceback" not in answer.err
    assert run("plan", "--json").error["code"] == "internal"
    from onefold.cli import main

    with pytest.raises(ZeroDivisionError):
        main(["--debug", "plan"])


@pytest.mark.parametrize(
    ("args", "suggestion"),
    [
        (["describe", "customer_spent"], "customer_spend"),
        (["get", "customer_spent"], "customer_spend"),
        (["get", "will_retun"], "will_return"),
        (["get", "customer_spend.spend_7"], "spend_7d"),
        (["get", "--service", "will_retun"], "will_return"),
        (["get", "customer_spend", "-k", "customer=1"], "customer_id"),
        (["verify", "will_retun"], "will_return"),
    ],
)
def test_unknown_names_are_answered_with_the_nearest(run: Run, shop: Path, args: list[str], suggestion: str) -> None:
    answer = run(*args)
    assert answer.code == 2
    assert f"'{suggestion}'" in answer.err


@pytest.mark.parametrize(
    ("key", "message"), [("customer_id=x", "not a BIGINT"), ("customer_id=", "not a BIGINT"), (None, "is absent")]
)
def test_a_key_that_does_not_fit_is_misuse(run: Run, shop: Path, key: str | None, message: str) -> None:
    answer = run("get", "customer_spend", *(["--key", key] if key else []))
    assert answer.code == 2 and message in answer.err


def test_values_that_are_not_there_yet_say_what_to_run(run: Run, shop: Path) -> None:
    answer = run("get", "customer_spend", "--key", "customer_id=42")
    assert answer.code == 1 and "onefold materialize" in answer.err


def test_list_and_describe_answer_in_json(run: Run, shop: Path) -> None:
    listed = run("list", "--json").json
    assert {d["name"]: d["applied"] for d in listed} == dict.fromkeys(
        ("customer", "orders", "customer_spend", "basket", "will_return"), "no"
    )
    assert [d["name"] for d in run("list", "views", "--json").json] == ["customer_spend"]
    described = run("describe", "customer_spend", "--json").json
    assert described["state"]["retention_us"] == 30 * 86_400_000_000
    assert described["body"]["windows_us"] == [[7 * 86_400_000_000, 0], [30 * 86_400_000_000, 0]]
    assert described["body"]["features"][0]["type"] == "BIGINT"


def test_describe_shows_sql_windows_and_state(run: Run, shop: Path) -> None:
    told = run("describe", "customer_spend").out
    for part in ("sum(amount) OVER d7", "windows: 1 week, 30 days", "kept 30 days", "spend_7d", "DOUBLE"):
        assert part in told
    assert "returned" not in told


def test_describe_shows_the_sql_that_duckdb_runs(run: Run, shop: Path) -> None:
    view, service = (run("describe", name, "--compiled") for name in ("customer_spend", "will_return"))
    assert view.code == service.code == 0
    assert view.out == service.out and view.out.startswith("-- orders by customer\nWITH events AS")
    unknown = run("describe", "customer", "--compiled")
    assert unknown.code == 2 and "customer_spend" in unknown.err


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("features=[customer_spend, basket]", 'features=["customer_spend"]', "service 'will_return': one of its"),
        ("views=[customer_spend]", "views=[orders]", "on-demand view 'basket': one of its views"),
        ("source=orders", 'source="orders"', "view 'customer_spend': source is 'orders'; give the EventSource itself"),
        ('"amount": "DOUBLE"', '"amount": "MONEY"', "column 'amount': type 'MONEY'"),
        (" AS spend_7d", "", "has no name; add AS name"),
    ],
)
def test_a_definition_of_the_wrong_kind_is_named(run: Run, shop: Path, old: str, new: str, message: str) -> None:
    file = shop / "features" / "definitions.py"
    text = file.read_text()
    assert old in text.replace("                                 AS spend_7d", " AS spend_7d")
    file.write_text(text.replace("                                 AS spend_7d", " AS spend_7d").replace(old, new))
    answer = run("plan")
    assert answer.code == 1 and message in answer.err and "fault of Onefold" not in answer.err


def test_init_refuses_to_overwrite(run: Run, shop: Path) -> None:
    before = sorted(p.name for p in shop.iterdir())
    answer = run("init", "shop", "--folder", str(shop))
    assert answer.code == 2 and "nothing was written" in answer.err
    assert sorted(p.name for p in shop.iterdir()) == before


def test_init_makes_a_project_that_is_named_and_whole(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = run("init", "bakery")
    assert answer.code == 0 and "onefold apply" in answer.err
    assert 'name = "bakery"' in (tmp_path / "bakery" / "onefold.toml").read_text()
    assert {p.name for p in (tmp_path / "bakery").iterdir()} == {
        "onefold.toml", "features", "data", "README.md", ".gitignore"
    }  # fmt: skip
    assert run("list", "--project", "bakery", "--json").code == 0


def test_plan_and_apply_agree_and_apply_is_repeatable(run: Run, shop: Path) -> None:
    planned = run("plan", "--json").json
    assert {c["action"] for c in planned["changes"]} == {"added"}
    assert run("plan", "--exit-code").code == 3
    applied = run("apply", "--json").json
    assert applied["changes"] == planned["changes"]
    assert run("plan", "--json").json == {"changes": [], "models": []}
    assert run("plan", "--exit-code").code == 0
    assert "nothing to apply" in run("apply").err


def test_plan_shows_sql_as_a_diff_and_what_it_touches(run: Run, shop: Path) -> None:
    run("apply")
    file = shop / "features" / "definitions.py"
    file.write_text(file.read_text().replace("INTERVAL 7 DAYS", "INTERVAL 60 DAYS"))
    told = run("plan").out
    assert "~ view customer_spend" in told
    assert "-    d7 AS (RANGE BETWEEN INTERVAL 7 DAYS PRECEDING AND CURRENT ROW)," in told
    assert "+    d7 AS (RANGE BETWEEN INTERVAL 60 DAYS PRECEDING AND CURRENT ROW)," in told
    assert "used by service will_return" in told
    assert "features.spend_7d: DOUBLE" in told
    assert "kept: 30 days -> 60 days" in told and "onefold materialize" in told


def test_plan_tells_a_comment_from_logic(run: Run, shop: Path) -> None:
    run("apply")
    file = shop / "features" / "definitions.py"
    file.write_text(file.read_text().replace("FROM orders", "FROM orders -- all of them"))
    answer = run("plan")
    assert "text only, same values" in answer.out
    assert [c["logic"] for c in run("plan", "--json").json["changes"]] == [False]


def test_plan_names_models_that_no_longer_fit(run: Run, shop: Path) -> None:
    folder = shop / ".onefold" / "models" / "returns"
    (folder / "1").mkdir(parents=True)
    (folder / "current").write_text("1\n")
    features = run("describe", "will_return", "--json").json["body"]["features"]
    inputs = [{k: f[k] for k in ("name", "type", "fingerprint")} for f in features]
    contract = {
        "model": "returns", "version": "1", "service": "will_return", "fingerprint": "x", "inputs": inputs,
        "libraries": {}, "golden": [], "format": 1,
    }  # fmt: skip
    (folder / "1" / "contract.json").write_text(json.dumps(contract))
    assert run("plan", "--json").json["models"] == []
    file = shop / "features" / "definitions.py"
    file.write_text(file.read_text().replace("max(amount)", "min(amount)"))
    (model,) = run("plan", "--json").json["models"]
    assert model["name"] == "returns"
    assert "max_order_30d" in " ".join(model["differences"])
    assert "model returns version 1 no longer fits" in run("plan").out
