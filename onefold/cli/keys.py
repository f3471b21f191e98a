"""`keys`: who may ask the service for what. A key's text is shown once, when it is made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onefold.cli.console import JsonOption, ProjectOption, note, say_done, say_json, say_table
from onefold.features.clock import now_micros

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onefold.serving.key_file import KeyFile
    from onefold.serving.keys import Key

keys_app = typer.Typer(
    help="API keys of the service: made, shown, rotated, revoked. A server takes changes over within a second.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
_DAY = 86_400_000_000

KeyArgument = Annotated[str, typer.Argument(metavar="KEY", help="Its id, or its name where that is the only one.")]
ExpiresOption = Annotated[str, typer.Option(metavar="LENGTH", help="How long it is good for, as '90 days', or never.")]


@keys_app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Whom it is for, as checkout.")],
    service: Annotated[
        list[str] | None,
        typer.Option("--service", "-s", metavar="SERVICE", help="What it reaches, with its models; may be repeated."),
    ] = None,
    all_services: Annotated[bool, typer.Option("--all-services", help="It reaches every service.")] = False,
    operator: Annotated[
        bool, typer.Option("--operator", help="It may read /metrics, /ready in full, and the documented API.")
    ] = False,
    expires: ExpiresOption = "365 days",
    rate: Annotated[
        float | None, typer.Option(metavar="NUMBER", help="Requests a second. Default: [serve] rate.", min=0)
    ] = None,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """Make a key, and show it this once."""
    from onefold.serving import keys

    file = _file(project)
    services = (keys.ALL,) if all_services else _checked(service or [], project, operator=operator)
    with file.changing():
        now = now_micros()
        key, text = keys.create(
            name, services=services, now=now, expires=_end(expires, now), operator=operator, rate=rate
        )
        file.write([*file.read(), key])
    _show_new(key, text, file.path, json=json)


@keys_app.command("list")
def list_(project: ProjectOption = None, json: JsonOption = False) -> None:
    """Every key: what it reaches, until when. None can be shown again."""
    now, found = now_micros(), _file(project).read()
    if json:
        say_json({"keys": [_facts(key, now) for key in found]})
        return
    if not found:
        note("there are no keys; `onefold keys create NAME --service SERVICE` makes one")
        return
    facts = [_facts(key, now) for key in found]
    columns = ("id", "name", "state", "services", "operator", "expires", "rate")
    say_table(columns, [[_cell(one[column]) for column in columns] for one in facts])


@keys_app.command("rotate")
def rotate(
    key: KeyArgument,
    overlap: Annotated[str, typer.Option(metavar="LENGTH", help="How long the old one stays good.")] = "7 days",
    expires: ExpiresOption = "365 days",
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """Make a key with the rights of another, which ends a while later."""
    from onefold.serving import keys

    file = _file(project)
    with file.changing():
        now = now_micros()
        changed, text = keys.rotate(
            file.read(), key, now=now, expires=_end(expires, now), overlap=_length(overlap, "--overlap")
        )
        file.write(changed)
    _show_new(changed[-1], text, file.path, json=json)


@keys_app.command("revoke")
def revoke(key: KeyArgument, project: ProjectOption = None, json: JsonOption = False) -> None:
    """Refuse a key from now on."""
    from onefold.serving import keys

    file = _file(project)
    with file.changing():
        now, known = now_micros(), file.read()
        gone = keys.find(known, key)
        file.write(keys.revoke(known, gone.id, now=now))
    if json:
        say_json({"revoked": gone.id})
    else:
        say_done(f"key {gone.id} ({gone.name}) is revoked; servers refuse it within a second")


def _file(project: str | None) -> KeyFile:
    from onefold.config import Settings
    from onefold.serving.key_file import KeyFile

    return KeyFile(Settings.load(project).keys)


def _checked(services: Sequence[str], project: str | None, *, operator: bool) -> tuple[str, ...]:
    """Names of services that there are; misuse where a key would reach nothing."""
    from onefold.features.errors import NotFoundError, nearest
    from onefold.wiring import Workspace

    if not services and not operator:
        raise typer.BadParameter("say what the key reaches, or --all-services", param_hint="--service")
    known = Workspace.find(project).project.services if services else {}
    for name in services:
        if name not in known:
            raise NotFoundError(f"service {name!r} is not defined{nearest(name, known)}")
    return tuple(dict.fromkeys(services))


def _end(expires: str, now: int) -> int | None:
    return None if expires == "never" else now + _length(expires, "--expires")


def _length(text: str, option: str) -> int:
    from onefold.features.errors import DefinitionError
    from onefold.features.windows import duration

    try:
        return duration(text)
    except DefinitionError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def _facts(key: Key, now: int) -> dict[str, Any]:
    return {name: value for name, value in key.to_json().items() if name != "sha256"} | {"state": key.state(now)}


def _cell(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(value)
    return "" if value is None or value is False else "yes" if value is True else str(value)


def _show_new(key: Key, text: str, path: Path, *, json: bool) -> None:
    if json:
        say_json({"key": text} | _facts(key, key.created))
        return
    print(text)
    until = "never expires" if key.expires is None else f"is good for {(key.expires - key.created) // _DAY} days"
    say_done(f"key {key.id} ({key.name}) {until}; its hash is in {path}, and it is not shown again")
