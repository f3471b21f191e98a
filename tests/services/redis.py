"""A real Redis of our own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import redis

from tests.services.certificates import Certificates, make_certificates
from tests.services.process import Service, program

Option = str | int | Sequence[str]


class RedisServer(Service):
    """A Redis that keeps nothing on disk unless `options` say so.

    `options` are lines of redis.conf (`{"appendonly": "yes", "maxmemory-policy": "allkeys-lru"}`; a list is several
    lines of one name). `password` is the default user's; `acl` has further users, as lines of an ACL file
    (`"user reader on >secret ~* +@read"`). With `tls` it answers over TLS only, and `certificates` name whom to trust.
    """

    name: ClassVar[str] = "redis"

    def __init__(
        self,
        folder: Path | None = None,
        port: int | None = None,
        *,
        options: Mapping[str, Option] | None = None,
        password: str | None = None,
        acl: Sequence[str] = (),
        tls: bool = False,
        replica_of: RedisServer | None = None,
        detached: bool = False,
    ) -> None:
        super().__init__(folder, port, detached=detached)
        self.options = dict(options or {})
        self.password = password
        self.acl = tuple(acl)
        self.certificates: Certificates | None = make_certificates(self.folder / "tls") if tls else None
        self.replica_of = replica_of

    @property
    def config(self) -> Path:
        return self.folder / "redis.conf"

    @property
    def url(self) -> str:
        """With the password, if there is one; of a server with TLS, trust `certificates.authority` besides."""
        return (
            f"redis{'s' if self.certificates else ''}://{f':{self.password}@' if self.password else ''}{self.address}/0"
        )

    def client(self) -> redis.Redis:
        """A new client of the default user, which returns bytes."""
        if self.certificates is None:
            return redis.Redis.from_url(self.url)
        return redis.Redis.from_url(self.url, ssl_ca_certs=str(self.certificates.authority))

    def _prepare(self) -> list[str]:
        lines = [f"{name} {value}" for name, option in self._all_options().items() for value in _values(option)]
        self.config.write_text("\n".join([*lines, ""]))
        self.config.chmod(0o600)
        return [program("redis-server"), str(self.config)]

    def _all_options(self) -> dict[str, Option]:
        port = "port" if self.certificates is None else "tls-port"
        return {
            "bind": "127.0.0.1",
            "port": 0,
            port: self.port,
            "dir": f'"{self.data}"',
            # The process is known by its command line, which Redis would write over.
            "set-proc-title": "no",
            "save": '""',
            **self._security(),
            **self._replication(),
            **self.options,
        }

    def _security(self) -> dict[str, Option]:
        options: dict[str, Option] = {}
        if self.certificates is not None:
            options["tls-cert-file"] = f'"{self.certificates.certificate}"'
            options["tls-key-file"] = f'"{self.certificates.key}"'
            options["tls-ca-cert-file"] = f'"{self.certificates.authority}"'
            options["tls-auth-clients"] = "no"
        if self.acl:
            users = [f"user default on {f'>{self.password}' if self.password else 'nopass'} ~* &* +@all", *self.acl]
            (self.folder / "users.acl").write_text("\n".join([*users, ""]))
            options["aclfile"] = f'"{self.folder / "users.acl"}"'
        elif self.password is not None:
            options["requirepass"] = self.password
        return options

    def _replication(self) -> dict[str, Option]:
        of = self.replica_of
        if of is None:
            return {}
        options: dict[str, Option] = {"replicaof": f"127.0.0.1 {of.port}", "repl-diskless-sync-delay": 0}
        if of.certificates is not None:
            options["tls-replication"] = "yes"
        return options | ({"masterauth": of.password} if of.password else {})

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except (redis.ConnectionError, redis.BusyLoadingError):
            return False


def _values(option: Option) -> Sequence[str]:
    return [str(option)] if isinstance(option, str | int) else option
