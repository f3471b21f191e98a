"""The nodes of a Redis Cluster: which has which bucket, a connection to each, and requests to all of them at once.

Reads follow a bucket that has moved. Writes under a session do not: a slot has another owner after a failover too, and
then writes may be lost; the session changes, and the worker reads the marks again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from typing import Any, TypeVar

from onefold.features.errors import SessionError, StoreError
from onefold.online.redis_buckets import BUCKETS, SLOT_OF
from onefold.online.redis_commands import at_once, chunked
from onefold.online.redis_connection import Connection
from onefold.online.redis_errors import Demoted, Unreachable
from onefold.online.redis_options import Address, RedisOptions
from onefold.online.redis_pool import RedisPool, retried
from onefold.online.redis_wire import ReplyError, command

_REDIRECTIONS = 8

_Result = TypeVar("_Result")

Asked = Sequence[tuple[int, bytes]]
"""Commands of one key (or of several names of one bucket), each with its bucket."""
Ask = Callable[..., list[Any]]
"""Given `Asked`, every reply in order; with `follow=False` redirections are among them."""
Lend = Callable[[Address], Connection]


class Nodes:
    """Connections to the primaries of a cluster. Threads may share it."""

    def __init__(self, options: RedisOptions, *, readonly: bool) -> None:
        self.options, self._readonly = options, readonly
        self._owners: list[Address] = []
        self._pools: dict[Address, RedisPool] = {}
        self._writers: dict[Address, Connection] = {}
        self._session, self._known = 0, list[Address]()
        self._writing, self._mapping, self._closed = threading.RLock(), threading.Lock(), False

    @property
    def session(self) -> int:
        """Another number whenever a connection that writes, to any node, was made anew, or a bucket has moved."""
        with self._writing:
            for address, connection in list(self._writers.items()):
                if not connection.whole:
                    self._drop(address)
            retried(self.options, self._connect_all)
            return self._session

    def read(self, work: Callable[[Ask], _Result]) -> _Result:
        """Do what only reads; `work` asks commands, and is done again where a node is lost."""

        def attempt() -> _Result:
            with ExitStack() as stack:
                lent: dict[Address, Connection] = {}

                def lend(address: Address) -> Connection:
                    if address not in lent:
                        lent[address] = stack.enter_context(self._pool(address).lent())
                    return lent[address]

                return work(lambda asked, follow=True: self._ask(asked, lend) if follow else self._once(asked, lend))

        return self._following(attempt)

    def write(self, asked: Asked, *, session: int | None = None) -> list[Any]:
        """Every reply, in order. SessionError where the session is another by now; Unreachable where it ends."""
        if self._readonly:
            raise StoreError(f"the online store at {self.options} is open to read only; open it to write")
        with self._writing:
            if session is None:
                retried(self.options, self._connect_all)
            elif session != self._session or not self._writers:
                raise SessionError(
                    f"the connections to the cluster at {self.options} are not those whose marks were read: "
                    "it may have lost writes since; read them again"
                )
            try:
                if session is None:
                    return self._ask(asked, self._writer)
                # By the map under which the marks were read: a node that has a bucket no more says so.
                return self._ask(asked, self._writer, owners=self._known, moved=self._refuse_move)
            except Unreachable:
                self._forget()
                raise

    def write_at_once(self, bucket: int, commands: Sequence[bytes], *, session: int | None = None) -> list[Any]:
        """The replies to commands of one bucket that take effect at one moment; a redirection is not followed."""
        with self._writing:
            self.write((), session=session)
            try:
                return self._writer(self.owners[bucket]).ask(*at_once(commands))
            except Unreachable:
                self._forget()
                raise

    @contextmanager
    def lent(self, bucket: int) -> Iterator[Connection]:
        """A connection to the node of a bucket, for one use by this thread."""
        try:
            with self._pool(self.owners[bucket]).lent() as connection:
                yield connection
        except StoreError:
            self._owners = []
            raise

    @property
    def primaries(self) -> list[Address]:
        """The nodes that have buckets."""
        return list(dict.fromkeys(self.owners))

    @property
    def owners(self) -> list[Address]:
        """The node of each bucket."""
        self._check_open()
        return self._owners or self._look()

    def on(self, address: Address) -> RedisPool:
        """The pool of one node, for what goes round all nodes."""
        return self._pool(address)

    def close(self) -> None:
        self._closed = True
        with self._writing:
            for address in list(self._writers):
                self._drop(address)
        for pool in list(self._pools.values()):
            pool.close()

    def _ask(
        self, asked: Asked, lend: Lend, *, owners: Sequence[Address] = (), moved: Callable[[str], None] | None = None
    ) -> list[Any]:
        """Ask all nodes at once, then those again to which a bucket has moved."""
        replies = self._once(asked, lend, owners)
        for _ in range(_REDIRECTIONS):
            todo = [i for i, reply in enumerate(replies) if is_redirection(reply)]
            if not todo:
                return replies
            for i in todo:
                self._redirect(asked[i], replies, i, lend, moved)
            todo = [i for i in todo if is_redirection(replies[i])]
            for i, reply in zip(todo, self._once([asked[i] for i in todo], lend), strict=True):
                replies[i] = reply
        raise Unreachable(f"the cluster at {self.options} sends from node to node without end")

    def _once(self, asked: Asked, lend: Lend, owners: Sequence[Address] = ()) -> list[Any]:
        """Every reply, in order, from a single request to each node."""
        owners, replies = owners or self.owners, list[Any]([None] * len(asked))
        by_node: dict[Address, list[int]] = {}
        for i, (bucket, _) in enumerate(asked):
            by_node.setdefault(owners[bucket], []).append(i)
        under_way = [(lend(address), mine) for address, mine in by_node.items()]
        for connection, mine in under_way:
            for request in chunked(asked[i][1] for i in mine):
                connection.post(*request)
        for connection, mine in under_way:
            for i, reply in zip(mine, connection.collect(), strict=True):
                replies[i] = reply
        return replies

    def _redirect(
        self, asked: tuple[int, bytes], replies: list[Any], i: int, lend: Lend, moved: Callable[[str], None] | None
    ) -> None:
        """Follow ASK at once, as the command was not done; after MOVED, look again who has what."""
        kind, *place = str(replies[i]).split(" ")
        if kind == "ASK":
            replies[i] = lend(_parsed(place[1], self.options)).ask(command(b"ASKING") + asked[1], 2)[1]
            return
        if moved is not None:
            moved(str(replies[i]))
        self._look()

    def _refuse_move(self, reply: str) -> None:
        raise Demoted(
            f"part of the cluster at {self.options} has another node by now and may have lost writes: {reply}"
        )

    def _following(self, attempt: Callable[[], _Result]) -> _Result:
        """Attempt again with a fresh map of the cluster where a node cannot be reached."""

        def tried() -> _Result:
            try:
                return attempt()
            except Unreachable:
                self._owners = []
                raise

        return retried(self.options, tried)

    def _connect_all(self) -> None:
        """A connection that writes to each primary; the session changes where one was made, or a bucket has moved."""
        owners = self.owners
        try:
            missing = [address for address in dict.fromkeys(owners) if address not in self._writers]
            for address in missing:
                self._writers[address] = Connection(self.options, address, writes=True)
        except Unreachable:
            self._forget()
            raise
        self._session += bool(missing) or owners != self._known
        self._known = owners

    def _writer(self, address: Address) -> Connection:
        """The connection that writes to a node; a node that came in the middle of a request is a new session."""
        if address not in self._writers:
            self._writers[address] = Connection(self.options, address, writes=True)
            self._session += 1
        return self._writers[address]

    def _pool(self, address: Address) -> RedisPool:
        self._check_open()
        with self._mapping:
            if address not in self._pools:
                one = self.options.at(address)
                self._pools[address] = RedisPool(one, readonly=self._readonly)
            return self._pools[address]

    def _look(self) -> list[Address]:
        """Ask any node that answers which node has which slots."""
        problem: StoreError | None = None
        for address in dict.fromkeys((*self._pools, *self.options.addresses)):
            try:
                connection = Connection(self.options, address, writes=False)
            except Unreachable as error:
                problem = error
                continue
            with closing(connection):
                self._owners = owners = self._owners_of(connection)
                return owners
        raise Unreachable(f"no node of the cluster answers; the last: {problem}")

    def _owners_of(self, connection: Connection) -> list[Address]:
        if connection.facts.get("cluster_enabled") == "0":
            raise StoreError(f"Redis at {connection.address} is no cluster; write the URL as redis://")
        slots = connection.one(b"CLUSTER", b"SLOTS")
        found: Mapping[int, Address] = {
            bucket: Address(node[0].decode() or connection.address.host, node[1])
            for first, last, node, *_ in slots
            for bucket, slot in enumerate(SLOT_OF)
            if first <= slot <= last
        }
        if len(found) < BUCKETS:
            raise Unreachable(f"the cluster at {self.options} is down: some slots have no primary; see CLUSTER INFO")
        return [found[bucket] for bucket in range(BUCKETS)]

    def _forget(self) -> None:
        """Doubt all connections that write: the next use makes a new session of what is there by then."""
        self._owners = []
        for address in list(self._writers):
            self._drop(address)

    def _drop(self, address: Address) -> None:
        self._writers.pop(address).close()

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError(f"the online store at {self.options} is closed")


def is_redirection(reply: Any) -> bool:
    return isinstance(reply, ReplyError) and str(reply).startswith(("MOVED ", "ASK "))


def is_half_moved(reply: Any) -> bool:
    """Whether some names of a command are on their way to another node, and some are not."""
    return isinstance(reply, ReplyError) and str(reply).startswith("TRYAGAIN")


def _parsed(place: str, options: RedisOptions) -> Address:
    host, _, port = place.rpartition(":")
    return Address(host or options.addresses[0].host, int(port))
