"""The peer of score.py: a Starlette application that reads a body and answers with one of a given size.

python benchmarks/_echo.py serves on a free port, with uvicorn set up as `onefold serve` sets it up, and ends its first
line on stderr with the URL. `POST /echo/{size}` answers with `size` bytes.
"""

from __future__ import annotations

import socket
import sys
from functools import cache

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


@cache
def payload(size: int) -> bytes:
    return b'"' + b"x" * (size - 2) + b'"'


async def echo(request: Request) -> Response:
    await request.body()
    return Response(payload(request.path_params["size"]), media_type="application/json")


class Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        print(f"echo at http://{host}:{port}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    app = Starlette(routes=[Route("/echo/{size:int}", echo, methods=["POST"])])
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, loop="uvloop", http="httptools", lifespan="on", log_config=None,
        access_log=False, server_header=False, date_header=False,
    )  # fmt: skip
    Server(config).run()
