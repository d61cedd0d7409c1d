"""One HTTP server in one process: its socket, its signals, its end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Any

from opsloop.errors import InputError, PortTaken


def listen_on(bind: str, port: int) -> socket.socket:
    """A listening socket. Raises PortTaken, or InputError for an address that is not ours."""
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((bind, port))
        sock.listen(2048)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(
                f"port {port}", "another process holds it", "`opsloop doctor` names it"
            ) from error
        raise InputError(f"{bind}:{port}", f"cannot be listened on: {error.strerror}") from error
    return sock


def serve(
    app: Callable[..., Any],
    sock: socket.socket,
    *,
    on_stop: Callable[[], None] = lambda: None,
    on_hangup: Callable[[], None] = lambda: None,
) -> None:
    """One uvicorn in this thread. on_stop runs on another thread before it stops listening."""
    import uvicorn

    class Server(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield  # ours, below

    config = uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="auto",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=2,
    )
    server = Server(config)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        stopping = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        loop.add_signal_handler(signal.SIGHUP, on_hangup)
        serving = asyncio.ensure_future(server.serve(sockets=[sock]))
        waiting = asyncio.ensure_future(stopping.wait())
        await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        await loop.run_in_executor(None, on_stop)
        server.should_exit = True
        await serving

    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(main())
