"""A real PostgreSQL of our own."""

from __future__ import annotations

import os
import pwd
import subprocess
from pathlib import Path
from typing import ClassVar

from tests.services.process import Service, ServiceError, program

_USER = "postgres"


class PostgreSQL(Service):
    """A PostgreSQL with one database, `onefold`, whose owner is asked for a password."""

    name: ClassVar[str] = "postgresql"
    password = "for-tests"

    @property
    def config(self) -> Path:
        return self.folder / "postgresql.conf"

    @property
    def url(self) -> str:
        return f"postgresql://{_USER}:{self.password}@{self.address}/{_USER}"

    def _prepare(self) -> list[str]:
        """It refuses to run as root, and then runs as the user that its package makes."""
        cluster = self.data / "cluster"
        as_user = _as_user()
        for path in (self.folder, self.data):
            self._give_away(path)
        if not cluster.exists():
            secret = self.folder / "password"
            secret.write_text(self.password)
            self._give_away(secret)
            command = [program("initdb"), "-D", str(cluster), "-U", _USER, "-A", "scram-sha-256", "--no-sync",
                       "--pwfile", str(secret)]  # fmt: skip
            made = subprocess.run([*as_user, *command], capture_output=True, text=True, check=False)
            if made.returncode:
                raise ServiceError(f"initdb failed: {made.stderr.strip()}")
        self.config.write_text(
            f"listen_addresses = '127.0.0.1'\nport = {self.port}\nfsync = off\ndata_directory = '{cluster}'\n"
            f"unix_socket_directories = '{self.data}'\nhba_file = '{cluster}/pg_hba.conf'\n"
            f"ident_file = '{cluster}/pg_ident.conf'\n"
        )
        self._give_away(self.config)
        return [*as_user, program("postgres"), "-c", f"config_file={self.config}"]

    def _answers(self) -> bool:
        import psycopg

        try:
            with psycopg.connect(self.url, connect_timeout=2) as connection:
                return connection.execute("SELECT 1").fetchone() == (1,)
        except psycopg.OperationalError:
            return False

    @staticmethod
    def _give_away(path: Path) -> None:
        if os.geteuid() == 0:
            user = pwd.getpwnam(_USER)
            os.chown(path, user.pw_uid, user.pw_gid)


def _as_user() -> list[str]:
    """What runs a command as the package's user, where we are root; the command's process is the program's."""
    if os.geteuid() != 0:
        return []
    try:
        pwd.getpwnam(_USER)
    except KeyError:
        raise ServiceError("there is no user postgres; try: scripts/services install") from None
    return [program("setpriv"), f"--reuid={_USER}", f"--regid={_USER}", "--init-groups"]
