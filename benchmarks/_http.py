"""Servers in processes of their own, and a client whose every connection waits for its answer before it asks again."""

from __future__ import annotations

import os
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
ECHO = (sys.executable, str(HERE / "_echo.py"))


def onefold_serve(project: Path, *, log: bool = True) -> tuple[str, ...]:
    command = (sys.executable, "-m", "onefold.cli", "serve", "--project", str(project), "--port", "0")
    return command if log else (*command, "--no-log")


@dataclass(frozen=True, slots=True)
class Server:
    """A server that answers: where, in which process, and how many seconds it took from its start to say so."""

    host: str
    port: int
    process: subprocess.Popen[str]
    seconds: float

    def answering(self) -> list[int]:
        """The processes that answer: its children, or itself where it has none."""
        own, found = os.getpriority(os.PRIO_PROCESS, self.process.pid), _children(self.process.pid)
        return [pid for pid in found if _niceness(pid) == own] or [self.process.pid]

    def log(self) -> list[int]:
        """The process that writes the served log, which stands back behind the others; [] where there is none."""
        return [pid for pid in _children(self.process.pid) if pid not in self.answering()]

    def free_log(self) -> None:
        """Let the log run on every core, where the server was bound to one."""
        for pid in self.log() if hasattr(os, "sched_setaffinity") else ():
            for thread in Path(f"/proc/{pid}/task").iterdir():
                os.sched_setaffinity(int(thread.name), os.sched_getaffinity(0))


def memory(pids: Sequence[int]) -> float:
    """Resident, in MB: of the largest."""
    said = [subprocess.check_output(["ps", "-o", "rss=", "-p", str(pid)], text=True) for pid in pids]
    return max((int(text) / 1024 for text in said), default=0.0)


def processor(pids: Sequence[int]) -> float:
    """Seconds of processor time so far, of all their threads that live."""
    return sum(map(_processor, pids))


def _processor(pid: int) -> float:
    threads = list(Path(f"/proc/{pid}/task").glob("*/schedstat"))
    if threads:
        return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9
    said = subprocess.check_output(["ps", "-o", "time=", "-p", str(pid)], text=True)
    minutes, _, seconds = said.strip().rpartition(":")
    return int(minutes.rpartition(":")[2] or 0) * 60 + float(seconds)


def _children(pid: int) -> list[int]:
    lines = subprocess.check_output(["ps", "-A", "-o", "pid=,ppid="], text=True).splitlines()
    return [int(child) for child, parent in map(str.split, lines) if int(parent) == pid]


def _niceness(pid: int) -> int | None:
    try:
        return os.getpriority(os.PRIO_PROCESS, pid)
    except ProcessLookupError:
        return None


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@contextmanager
def running(command: Sequence[str], *, url: str = "", answers: Callable[[str], bool] | None = None) -> Iterator[Server]:
    """A server that ends a line on stderr with its URL when it is ready; ended with the block.

    One that says nothing has its URL given, and `answers` asks it.
    """
    start = time.perf_counter()
    quiet = answers is not None
    process = subprocess.Popen(
        command, stderr=subprocess.DEVNULL if quiet else subprocess.PIPE, stdout=subprocess.DEVNULL if quiet else None,
        text=True,
    )  # fmt: skip
    said: list[str] = []
    try:
        if answers is not None:
            while process.poll() is None and not answers(url):
                pass
            host, _, port = url.removeprefix("http://").rpartition(":")
            yield Server(host, int(port), process, time.perf_counter() - start)
            return
        assert process.stderr is not None
        for line in process.stderr:
            said.append(line)
            if "http://" in line:
                host, _, port = line.split()[-1].removeprefix("http://").rpartition(":")
                yield Server(host, int(port), process, time.perf_counter() - start)
                return
        raise RuntimeError(f"{' '.join(command)} did not start: {''.join(said)}")
    finally:
        process.terminate()
        process.communicate(timeout=60)


def post(path: str, body: bytes) -> bytes:
    """A whole request, ready to send."""
    head = (f"POST {path} HTTP/1.1", "host: bench", "content-type: application/json", f"content-length: {len(body)}")
    return "\r\n".join([*head, "", ""]).encode() + body


@dataclass(slots=True)
class Connection:
    """One connection that is kept open."""

    socket: socket.socket
    received: bytearray = field(default_factory=bytearray)
    body: int = 0
    end: int = 0

    @classmethod
    def to(cls, server: Server) -> Connection:
        opened = socket.create_connection((server.host, server.port), timeout=60)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return cls(opened)

    def ask(self, request: bytes) -> bytes:
        """Send a request and wait for its answer's body; RuntimeError for another status than 200."""
        self.socket.sendall(request)
        while (body := self.take()) is None:
            pass
        return body

    def take(self) -> bytes | None:
        """What has come; the body when it is whole."""
        part = self.socket.recv(1 << 18)
        if not part:
            raise RuntimeError("the server closed the connection")
        self.received += part
        if not self.end and not self._head():
            return None
        if len(self.received) < self.end:
            return None
        whole = bytes(self.received[self.body : self.end])
        self.received.clear()
        self.end = 0
        return whole

    def _head(self) -> bool:
        """Find where the body begins and ends; False while the head is not whole."""
        place = self.received.find(b"\r\n\r\n")
        if place < 0:
            return False
        head = bytes(self.received[:place]).lower()
        if not head.startswith(b"http/1.1 200"):
            raise RuntimeError(bytes(self.received).decode(errors="replace"))
        self.body = place + 4
        self.end = self.body + int(head.split(b"content-length:")[1].split(b"\r\n")[0])
        return True


@contextmanager
def connected(server: Server, count: int) -> Iterator[list[Connection]]:
    found = [Connection.to(server) for _ in range(count)]
    try:
        yield found
    finally:
        for connection in found:
            connection.socket.close()


def closed_loop(connections: Sequence[Connection], request: Callable[[int], bytes], count: int) -> float:
    """Seconds for `count` requests over all connections, each of which always has one under way."""
    with selectors.DefaultSelector() as selector:
        for connection in connections:
            selector.register(connection.socket, selectors.EVENT_READ, connection)
        start = time.perf_counter()
        for sent, connection in enumerate(connections):
            connection.socket.sendall(request(sent))
        sent, done = len(connections), 0
        while done < count:
            for key, _ in selector.select():
                connection = key.data
                if connection.take() is None:
                    continue
                done += 1
                if sent < count:
                    connection.socket.sendall(request(sent))
                    sent += 1
        return time.perf_counter() - start


def paced(
    connections: Sequence[Connection], request: Callable[[int], bytes], count: int, *, rate: float
) -> list[float]:
    """Seconds from when each of `count` requests was due to its answer, at `rate` a second.

    One that finds no connection free waits for one, and that counts.
    """
    waits: list[float] = []
    free, due = list(connections), dict[int, float]()
    with selectors.SelectSelector() as selector:  # epoll waits for whole milliseconds, longer than an answer takes
        for connection in connections:
            selector.register(connection.socket, selectors.EVENT_READ, connection)
        start, sent = time.perf_counter(), 0
        while len(waits) < count:
            now = time.perf_counter() - start
            while free and sent < count and sent / rate <= now:
                connection = free.pop()
                due[id(connection)] = sent / rate
                connection.socket.sendall(request(sent))
                sent += 1
            pause = max(0.0, sent / rate - now) if free and sent < count else None
            for key, _ in selector.select(pause):
                if key.data.take() is not None:
                    waits.append(time.perf_counter() - start - due.pop(id(key.data)))
                    free.append(key.data)
    return waits


def loops(count: int, *, seconds: float, rate: float) -> list[float]:
    """Seconds that each of `count` pieces of the same arithmetic took, at `rate` a second: what the processor does to
    the tail of work that waits for nobody. seconds: about how long one takes."""
    turns = 1_000
    turns = max(1, round(turns * seconds / min(_turned(turns) for _ in range(20))))
    start, waits = time.perf_counter(), list[float]()
    for number in range(count):
        while time.perf_counter() - start < number / rate:
            pass
        waits.append(_turned(turns))
    return waits


def _turned(turns: int) -> float:
    start, value = time.perf_counter(), 1
    for _ in range(turns):
        value = value * 1_664_525 + 1_013_904_223 & 0xFFFFFFFF
    return time.perf_counter() - start
