"""A newcomer's way through the commands, in one folder."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

Run = Callable[..., Any]
AT = "2026-01-01T00:00:00Z"
DAY = 86_400_000_000


@pytest.fixture
def ready(run: Run, shop: Path) -> Path:
    assert run("materialize").code == 0
    return shop


def values(answer: Any) -> dict[str, Any]:
    return {f["name"]: f["value"] for f in answer.json["features"]}


def event(order: str, amount: float = 10.0, at: str = "2025-12-31T23:59:59Z") -> str:
    return json.dumps({"order_id": order, "customer_id": 42, "amount": amount, "category": "toys", "ordered_at": at})


def test_a_first_value_is_there_within_five_commands(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last of them in a process of its own, as a newcomer runs all."""
    monkeypatch.chdir(tmp_path)
    assert run("init", "shop").code == 0
    monkeypatch.chdir(tmp_path / "shop")
    assert run("apply").code == run("materialize").code == 0
    command = [sys.executable, "-m", "onefold", "get", "customer_spend", "--key", "customer_id=42", "--json"]
    got = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    features = {f["name"]: f for f in json.loads(got.stdout)["features"]}
    assert features["orders_30d"]["value"] > 0 and features["orders_30d"]["status"] == "fresh"


def test_online_value_is_that_of_the_events(run: Run, ready: Path) -> None:
    orders = pq.read_table(ready / "data" / "orders.parquet")
    of42 = orders.filter(pc.equal(orders["customer_id"], 42))
    amounts = [r["amount"] for r in of42.to_pylist() if r["ordered_at"].isoformat() >= "2025-12-25T00:00:00"]
    got = values(run("get", "customer_spend", "-k", "customer_id=42", "--at", AT, "--json"))
    assert got["orders_7d"] == len(amounts)
    assert got["spend_7d"] == pytest.approx(sum(amounts))


def test_features_are_chosen_by_reference_or_service(run: Run, ready: Path) -> None:
    key = ["-k", "customer_id=42", "--at", AT, "--json"]
    one = values(run("get", "customer_spend.spend_7d", *key))
    assert list(one) == ["spend_7d"]
    request = ["-r", "basket_total=80"]
    whole = values(run("get", "will_return", *request, *key))
    assert whole["spend_7d"] == one["spend_7d"] and whole["basket_ratio"] == 80 / whole["avg_order_30d"]
    assert values(run("get", "--service", "will_return", *request, *key)) == whole
    assert values(run("get", "customer_spend", "basket", *request, *key)) == whole


def test_a_key_never_seen_is_missing_and_counts_nothing(run: Run, ready: Path) -> None:
    answer = run("get", "customer_spend", "-k", "customer_id=999999", "--json")
    assert {f["status"] for f in answer.json["features"]} == {"missing"}
    assert values(answer)["orders_7d"] == 0 and values(answer)["spend_7d"] is None
    told = run("get", "customer_spend", "-k", "customer_id=999999")
    assert "missing" in told.out and "no event of this key" in told.err


def test_a_time_before_what_the_state_keeps_is_partial_and_says_why(run: Run, ready: Path) -> None:
    told = run("get", "customer_spend", "-k", "customer_id=42", "--at", "2020-01-01T00:00:00Z")
    assert told.code == 0 and "partial" in told.out and "[online] reach" in told.err


def test_a_short_window_has_its_value_where_a_long_one_is_partial(run: Run, ready: Path) -> None:
    file = ready / "features" / "definitions.py"
    file.write_text(file.read_text().replace("basket_total / avg_order_30d", "coalesce(avg_order_30d, 1.0)"))
    row = ["-k", "customer_id=42", "-r", "basket_total=80", "--at", "2025-12-28T00:00:00Z", "--json"]
    found = {f["name"]: (f["status"], f["value"]) for f in run("get", "will_return", *row).json["features"]}
    assert found["orders_7d"][0] == "fresh" and found["orders_7d"][1] is not None
    assert found["orders_30d"] == found["basket_ratio"] == ("partial", None)
    assert found["basket"] == ("fresh", 80.0)


def test_serving_at_a_port_that_is_taken_is_misuse(run: Run, ready: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        answer = run("serve", "--port", str(taken.getsockname()[1]))
    assert answer.code == 2 and "is another server there?" in answer.err


def test_materialize_takes_each_file_once(run: Run, ready: Path) -> None:
    answer = run("materialize", "--json")
    assert answer.json["imported"] == {"orders": 0} and answer.json["built"] == []
    assert run("materialize", "--full", "--json").json["built"][0]["entity"] == "customer"


def test_a_changed_window_needs_new_state_and_gets_it(run: Run, ready: Path) -> None:
    file = ready / "features" / "definitions.py"
    file.write_text(file.read_text().replace("INTERVAL 30 DAYS", "INTERVAL 50 DAYS"))
    get = ["get", "customer_spend", "-k", "customer_id=42", "--at", AT, "--json"]
    stale = run(*get)
    assert stale.code == 1 and stale.error["code"] == "mismatch" and "onefold materialize" in stale.error["message"]
    assert run("materialize").code == 0
    assert values(run(*get))["orders_30d"] > 0


@pytest.mark.parametrize("path", ["data/ord*.parquet", "incoming"])
def test_files_of_a_source_may_be_a_pattern_or_a_folder(run: Run, shop: Path, path: str) -> None:
    file = shop / "features" / "definitions.py"
    file.write_text(file.read_text().replace("data/orders.parquet", path))
    (shop / "incoming").mkdir()
    orders = (shop / "data" / "orders.parquet").rename(shop / "data" / "elsewhere.parquet")
    nothing = run("materialize")
    assert nothing.code == 2 and "no Parquet file" in nothing.err
    for folder in ("data", "incoming"):
        shutil.copy(orders, shop / folder / "orders-1.parquet")
    assert run("materialize", "--json").json["imported"] == {"orders": 12_000}


def test_streamed_events_count_once_and_bad_ones_are_told(run: Run, ready: Path) -> None:
    get = ["get", "customer_spend.orders_7d", "-k", "customer_id=42", "--at", AT, "--json"]
    before = values(run(*get))["orders_7d"]
    feed = ready / "new.jsonl"
    feed.write_text("\n".join([event("n1"), "not json", event("n2"), event("n1")]) + "\n")
    told = run("stream", "--feed", "orders=new.jsonl", "--once")
    assert told.code == 0 and "3 events taken of 4 records" in told.err
    letters = run("dead-letters", "orders", "--json").json
    assert letters["count"] == 1
    assert letters["letters"][0]["original"] == "not json" and "not JSON" in letters["letters"][0]["reason"]
    assert "new.jsonl" in run("dead-letters").out and "no dead letters" not in run("dead-letters").err
    again = run("stream", "--feed", "orders=new.jsonl", "--once", "--json")
    assert again.json["events"] == 0
    assert "nothing new" in run("stream", "--feed", "orders=new.jsonl", "--once").err
    assert values(run(*get))["orders_7d"] == before + 2
    missing = run("stream", "--feed", "orders=nowhere.jsonl", "--once")
    assert missing.code == 2 and "nowhere.jsonl" in missing.err
    unknown = run("stream", "--feed", "ordrs=new.jsonl", "--once")
    assert unknown.code == 2 and "'orders'" in unknown.err


def test_stream_follows_a_file_until_it_is_stopped(ready: Path) -> None:
    feed = ready / "new.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-m", "onefold", "stream", "--feed", "orders=new.jsonl", "--json"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    feed.write_text(event("n1") + "\n")
    archive = ready / ".onefold" / "archive" / "orders"
    wait_for(lambda: DeltaTable(str(archive)).to_pyarrow_dataset().count_rows() == 12_001)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0 and json.loads(out)["events"] == 1


def test_from_training_set_to_served_score_to_proof(run: Run, ready: Path) -> None:
    made = run("training-set", "will_return", "--spine", "data/baskets.parquet", "--label", "returned", "--json")
    assert made.code == 0 and made.json["manifest"]["rows"] == 3_000
    trained = run("train", "data/baskets", "--model", "returns", "--rounds", "10", "--no-track", "--json")
    assert trained.code == 0, trained.err
    assert trained.json["version"] == 1 and trained.json["metrics"]["evaluation_auc"] > 0.5
    with served(ready) as url:
        body = {"rows": [{"customer_id": c, "basket_total": 80.0} for c in (42, 7, 999_999)]}
        assert len(post(f"{url}/v1/score/returns", body)["scores"]) == 3
    proof = run("verify")
    assert proof.code == 0
    assert proof.out.splitlines()[-1] == "verify: 0 mismatches in 24 values (3 rows x 8 features)"
    spoil_a_logged_value(ready)
    found = run("verify", "--json")
    assert found.code == 3 and found.json["causes"] == {"value altered": 1}
    told = run("verify", "will_return")
    assert told.code == 3 and told.out.splitlines()[-1].startswith("verify: 1 mismatches in 24 values")


def spoil_a_logged_value(project: Path) -> None:
    (log,) = (path.parent for path in (project / ".onefold" / "served").rglob("_delta_log"))
    table = DeltaTable(str(log)).to_pyarrow_table()
    rows = table.to_pylist()
    rows[0]["features"]["spend_7d"] = (rows[0]["features"]["spend_7d"] or 0.0) + 1e-9
    write_deltalake(str(log), type(table).from_pylist(rows, schema=table.schema), mode="overwrite")


@contextmanager
def served(project: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "ONEFOLD_SERVE__PORT": str(port)}
    process = subprocess.Popen([sys.executable, "-m", "onefold", "serve", "--project", str(project)], env=environment)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: answers(f"{url}/health"))
        yield url
    finally:
        process.terminate()
        assert process.wait(timeout=30) == 0


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def post(url: str, body: object) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.load(response)


def wait_for(condition: Callable[[], bool], *, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.05)
