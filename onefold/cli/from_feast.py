"""`import-feast`: a Feast repository's views as definitions of this project."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from onefold.cli.console import JsonOption, ProjectOption, note, say_done, say_json, say_next

FILE = "from_feast.py"


def import_feast(
    repo: Annotated[str, typer.Argument(help="Folder of a Feast repository: where its feature_store.yaml is.")],
    name: Annotated[str, typer.Option(metavar="FILE", help="The file to write, in the features folder.")] = FILE,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """Turn a Feast repository's views into definitions, and say what cannot be taken over.

    The repository's own code is run, as `feast apply` does, and nothing of it is changed.
    """
    from onefold.config import Settings
    from onefold.features.errors import InputError
    from onefold.from_feast.installing import install
    from onefold.from_feast.reading import read_repository
    from onefold.from_feast.writing import definitions

    settings = Settings.load(project)
    target = settings.features / name
    if target.exists():
        raise InputError(f"{target} is there already; move it away, or name another with --name")
    folder = Path(repo).resolve()
    done = definitions(read_repository(folder), repo=folder, root=settings.root)
    if not done.taken:
        raise InputError(f"nothing of {folder} can be taken over: {'; '.join(done.left) or 'it defines no view'}")
    install(done.text, target)
    if json:
        say_json(asdict(done) | {"file": str(target)})
        return
    say_done(f"{len(done.taken)} definitions in {target}")
    for title, lines in (("not quite as it was", done.notes), ("not taken over", done.left)):
        for line in lines:
            note(f"{title}: {line}")
    say_next("onefold plan", "look at the definitions, then put them on record with `onefold apply`")
