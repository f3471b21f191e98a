from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onefold.serving.key_file import KeyFile
from onefold.serving.keys import KeyRing

Run = Callable[..., Any]
DAY = 86_400_000_000


def ring(shop: Path) -> KeyRing:
    return KeyRing(KeyFile(shop / ".onefold" / "keys.json").read())


def test_a_key_is_shown_once_and_is_good(run: Run, shop: Path) -> None:
    answer = run("keys", "create", "checkout", "--service", "will_return", "--rate", "20")
    text = answer.out.strip()
    assert re.fullmatch(r"onefold_[0-9a-f]{12}_[\w-]{43}", text)
    assert "is good for 365 days" in answer.err and "is not shown again" in answer.err
    key = ring(shop).find(text)
    assert key is not None
    assert (key.name, key.services, key.rate, key.operator) == ("checkout", ("will_return",), 20.0, False)
    assert text not in (shop / ".onefold" / "keys.json").read_text()
    assert text not in run("keys", "list").out + run("keys", "list", "--json").out


def test_keys_are_listed_with_what_they_reach(run: Run, shop: Path) -> None:
    run("keys", "create", "ops", "--operator", "--expires", "never")
    run("keys", "create", "all", "--all-services", "--expires", "1 day")
    ops, every = run("keys", "list", "--json").json["keys"]
    assert (ops["services"], ops["operator"], ops["expires"], ops["state"]) == ([], True, None, "active")
    assert (every["services"], every["operator"]) == (["*"], False)
    assert "sha256" not in ops
    assert "all" in run("keys", "list").out


def test_rotation_gives_another_key_and_ends_the_old_one_later(run: Run, shop: Path) -> None:
    old = run("keys", "create", "checkout", "-s", "will_return", "--json").json
    new = run("keys", "rotate", "checkout", "--overlap", "2 days", "--json").json
    assert new["follows"] == old["id"]
    assert new["key"] != old["key"]
    found = ring(shop).find(old["key"])
    assert found is not None and found.expires is not None
    made = ring(shop).find(new["key"])
    assert made is not None and found.expires - made.created == 2 * DAY


def test_a_revoked_key_is_refused_and_stays_listed(run: Run, shop: Path) -> None:
    made = run("keys", "create", "checkout", "-s", "will_return", "--json").json
    assert "is revoked" in run("keys", "revoke", made["id"]).err
    (listed,) = run("keys", "list", "--json").json["keys"]
    assert listed["state"] == "revoked"
    answer = run("keys", "rotate", made["id"], "--json")
    assert answer.code == 2 and "is revoked; create a new one" in answer.error["message"]


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["create", "a"], 2, "say what the key reaches"),
        (["create", "a", "-s", "will_retrn"], 2, "did you mean 'will_return'?"),
        (["create", "a b", "--operator"], 2, "cannot name a key"),
        (["create", "a", "--operator", "--expires", "soon"], 2, "no length of time"),
        (["rotate", "nobody"], 2, "`onefold keys list` shows them"),
        (["revoke", "nobody"], 2, "`onefold keys list` shows them"),
    ],
)
def test_misuse_says_what_to_do(run: Run, shop: Path, args: list[str], code: int, words: str) -> None:
    answer = run("keys", *args)
    assert answer.code == code
    assert words in " ".join((answer.out + answer.err).split())
    assert not (shop / ".onefold" / "keys.json").exists()


def test_a_file_that_cannot_be_read_is_named_and_left_alone(run: Run, shop: Path) -> None:
    path = shop / ".onefold" / "keys.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text("{")
    answer = run("keys", "create", "a", "--operator", "--json")
    assert answer.code == 1
    assert str(path) in answer.error["message"]
    assert path.read_text() == "{"


def test_settings_of_the_server_come_from_the_file(shop: Path) -> None:
    from onefold.config import Settings

    lines = ["workers = 3", 'max_body = "1 MiB"', 'time_limit = "2 seconds"', "rate = 5", 'tls_cert = "tls/a.pem"']
    (shop / "onefold.toml").write_text("\n".join(['[project]\nname = "shop"\n[serve]', *lines]))
    server = Settings.load(shop).server
    assert (server.workers, server.limits.body, server.limits.seconds, server.limits.rate) == (3, 1024**2, 2.0, 5.0)
    assert server.tls_cert == shop.resolve() / "tls" / "a.pem"
    assert server.keys == shop.resolve() / ".onefold" / "keys.json"
