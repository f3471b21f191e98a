from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from onefold.config import Settings, find_project
from onefold.features.errors import ConfigError

MINIMAL = '[project]\nname = "shop"\n'


def project(folder: Path, text: str = MINIMAL) -> Path:
    folder.mkdir(exist_ok=True, parents=True)
    (folder / "onefold.toml").write_text(text)
    return folder


def test_defaults_fill_what_the_file_leaves_out(tmp_path: Path) -> None:
    settings = Settings.load(project(tmp_path))
    assert settings.project.name == "shop"
    assert settings.features == tmp_path / "features"
    assert settings.archive == tmp_path / ".onefold" / "archive"
    assert settings.online_path == tmp_path / ".onefold" / "online"
    assert (settings.serve.host, settings.serve.port) == ("127.0.0.1", 8750)


def test_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project(tmp_path, MINIMAL + "[serve]\nport = 9000\nhost = '0.0.0.0'\n")
    monkeypatch.setenv("ONEFOLD_SERVE__PORT", "9001")
    settings = Settings.load(tmp_path)
    assert (settings.serve.port, settings.serve.host) == (9001, "0.0.0.0")


def test_project_is_found_from_a_folder_below_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    below = project(tmp_path) / "features" / "deep"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert find_project() == tmp_path
    assert Settings.load().root == tmp_path


def test_no_project_is_an_error_that_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="onefold init"):
        Settings.load()
    with pytest.raises(ConfigError, match=r"holds no onefold\.toml"):
        Settings.load(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (MINIMAL + "[serv]\nport = 1\n", r"section \[serv\] is not known; did you mean 'serve'"),
        (MINIMAL + "[serve]\nprt = 1\n", r"key 'prt' in \[serve\] is not known; did you mean 'port'"),
        ("serve = 3\n" + MINIMAL, "'serve' must be a section"),
        ("[serve]\nport = 1\n", r"project is missing; add \[project\]"),
        ("[project]\n", r"project\.name is missing"),
        ('[project]\nname = "my shop"\n', r"project\.name is 'my shop'"),
        (MINIMAL + "[serve]\nport = 'x'\n", r"serve\.port is 'x'"),
        (MINIMAL + "[online]\nmap_size = 'big'\n", "write a size as bytes, or as '16 GiB'"),
        (MINIMAL + "[online]\nreach = '1 month'\n", "no length of time"),
        ("[project\n", "is not TOML"),
    ],
)
def test_wrong_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Settings.load(project(tmp_path, text))


@pytest.mark.parametrize(
    ("variable", "message"),
    [
        ("ONEFOLD_SERVE__PRT", "ONEFOLD_SERVE__PRT is not known; did you mean 'port'"),
        ("ONEFOLD_SERV__PORT", "did you mean 'serve'"),
        ("ONEFOLD_SERVE__PORT", "ONEFOLD_SERVE__PORT is 'x'"),
    ],
)
def test_wrong_override_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, message: str
) -> None:
    monkeypatch.setenv(variable, "x")
    with pytest.raises(ConfigError, match=message):
        Settings.load(project(tmp_path))


@pytest.mark.parametrize(
    ("text", "size"), [("4096", 4096), ("'2 KiB'", 2048), ("'2 kB'", 2000), ("'1GiB'", 2**30), ("'7 B'", 7)]
)
def test_sizes_are_read(tmp_path: Path, text: str, size: int) -> None:
    assert Settings.load(project(tmp_path, MINIMAL + f"[online]\nmap_size = {text}\n")).online.map_size == size


def test_reach_is_in_microseconds(tmp_path: Path) -> None:
    assert Settings.load(project(tmp_path, MINIMAL + "[online]\nreach = '2 days'\n")).reach == 2 * 86_400_000_000


def test_settings_are_frozen(tmp_path: Path) -> None:
    settings = Settings.load(project(tmp_path))
    with pytest.raises(ValidationError):
        settings.serve.port = 1


def test_a_key_that_is_a_table_takes_single_entries_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project(tmp_path, MINIMAL + '[kafka]\noptions = {sasl_mechanism = "PLAIN", sasl_plain_username = "me"}\n')
    monkeypatch.setenv("ONEFOLD_KAFKA__OPTIONS__SASL_PLAIN_PASSWORD", "secret")
    kafka = Settings.load(tmp_path).kafka
    assert kafka.options == {
        "sasl_mechanism": "PLAIN",
        "sasl_plain_username": "me",
        "sasl_plain_password": "secret",
    }
    assert "secret" not in repr(kafka)


@pytest.mark.parametrize("line", ['bootstrap = "a b"', 'group = "my group"', 'schema_registry = "x"'])
def test_settings_of_kafka_are_checked(tmp_path: Path, line: str) -> None:
    with pytest.raises(ConfigError, match=f"kafka.{line.split()[0]} is "):
        Settings.load(project(tmp_path, f"{MINIMAL}[kafka]\n{line}\n"))
