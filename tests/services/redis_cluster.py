"""A real Redis Cluster of our own: three masters, which have a third of the slots each."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import redis

from tests.services.process import free_port, wait_until
from tests.services.redis import Option, RedisServer

_MASTERS = 3
_SLOTS = 16_384


class RedisCluster:
    """Three servers that know one another; each of `nodes` can be killed and started again by itself.

    Without `folder` it keeps temporary ones. `options` are lines of each redis.conf.
    """

    def __init__(self, folder: Path | None = None, *, options: Mapping[str, Option] | None = None) -> None:
        self.nodes = [
            RedisServer(folder and folder / str(number), options=_clustered() | dict(options or {}))
            for number in range(_MASTERS)
        ]
        self.replicas: list[RedisServer] = []
        self._folder = folder

    @property
    def addresses(self) -> list[str]:
        return [node.address for node in self.nodes]

    def client(self) -> redis.RedisCluster:
        """A new client, which returns bytes."""
        return redis.RedisCluster.from_url(self.nodes[0].url)

    def start(self) -> Self:
        """Start what does not run, share the slots out if that is still to be done, and wait until all say it works."""
        for node in self.nodes:
            if node.pid is None:
                node.start()
        if not self._has_slots():
            self._share_slots()
        wait_until(lambda: all(_is_whole(node) for node in self.nodes), "the cluster has all slots on three nodes")
        return self

    def add_replica(self, of: RedisServer) -> RedisServer:
        """A replica of one of the nodes, which has all of its data and will take over when it dies."""
        folder = self._folder and self._folder / f"replica-{len(self.replicas)}"
        replica = RedisServer(folder, options=of.options | {"cluster-port": free_port()})
        self.replicas.append(replica)
        with of.client() as master, replica.start().client() as client:
            ident = master.execute_command("CLUSTER MYID").decode()
            client.execute_command("CLUSTER MEET", "127.0.0.1", of.port, of.options["cluster-port"])
            wait_until(lambda: ident in str(client.execute_command("CLUSTER NODES")), "the replica knows its node")
            wait_until(lambda: _info(replica)["cluster_state"] == "ok", "the replica knows the cluster")
            client.execute_command("CLUSTER REPLICATE", ident)
            wait_until(lambda: client.info("replication")["master_link_status"] == "up", "the replica is in step")
        return replica

    def kill(self) -> None:
        for node in self.nodes:
            node.kill()

    def wipe(self) -> None:
        """Take the data of all away, and what they know of one another."""
        for node in self.nodes:
            node.wipe()

    def close(self) -> None:
        with contextlib.ExitStack() as stack:
            for node in (*self.nodes, *self.replicas):
                stack.callback(node.close)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _has_slots(self) -> bool:
        return any(int(_info(node)["cluster_slots_assigned"]) for node in self.nodes)

    def _share_slots(self) -> None:
        for number, node in enumerate(self.nodes):
            first, end = (_SLOTS * n // _MASTERS for n in (number, number + 1))
            with node.client() as client:
                client.execute_command("CLUSTER ADDSLOTSRANGE", first, end - 1)
                client.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
                for other in self.nodes[:number]:
                    bus = int(str(other.options["cluster-port"]))
                    client.execute_command("CLUSTER MEET", "127.0.0.1", other.port, bus)


def _clustered() -> dict[str, Option]:
    return {"cluster-enabled": "yes", "cluster-port": free_port(), "cluster-node-timeout": 2_000}


def _info(node: RedisServer) -> Mapping[str, str]:
    with node.client() as client:
        answer = client.execute_command("CLUSTER INFO")
    if isinstance(answer, Mapping):
        return answer
    return dict(line.split(":", 1) for line in answer.decode().split("\r\n") if line)


def _is_whole(node: RedisServer) -> bool:
    info = _info(node)
    return info["cluster_state"] == "ok" and int(info["cluster_known_nodes"]) == _MASTERS
