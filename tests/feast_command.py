"""Feast's own commands, in the process of the test: one of their own needs ten seconds to import Feast."""

from __future__ import annotations

from pathlib import Path


def feast(folder: Path, *arguments: str) -> str:
    """What a command over the repository in a folder writes; its error is raised."""
    from click.testing import CliRunner
    from feast.cli.cli import cli

    ran = CliRunner().invoke(cli, ["-c", str(folder), *arguments], catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    return ran.stdout
