"""Running the application: the socket, the ready file, a shutdown that lets work finish."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from ambient_vcp.apps.control_plane.http.app import build_app
from ambient_vcp.apps.control_plane.plane import ControlPlane
from ambient_vcp.apps.control_plane.settings import ControlPlaneSettings
from ambient_vcp.apps.control_plane.wiring import compose
from ambient_vcp.domain.errors import ConflictError

BACKLOG = 2_048
THREAD_SWITCH_S = 0.0005
"""The store works in threads. The default of 5 ms is what each answer would wait for them."""

READY_FILE = "control-plane.json"


def listen(settings: ControlPlaneSettings) -> socket.socket:
    """Bind the address before anything else is opened.

    Raises:
        ConflictError: it cannot be had.
    """
    try:
        (family, kind, protocol, _, address), *_ = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise ConflictError(
            what=f"cannot listen on {settings.host} port {settings.port}: {error.strerror}",
            advice="Choose another --port, or 0 for a free one.",
        ) from error
    return listener


class Server(uvicorn.Server):
    """Writes the ready file when it answers, and ends event streams before waiting for requests."""

    def __init__(
        self, config: uvicorn.Config, plane: ControlPlane, ready: dict[str, Any], path: Path
    ) -> None:
        super().__init__(config)
        self._plane = plane
        self._ready = ready
        self._path = path

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at a signal and leave with exit code 0, instead of dying of it afterwards."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.should_exit:
            write_ready(self._path, self._ready)
            print(f"listening on {self._ready['url']}", flush=True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._path.unlink(missing_ok=True)
        self._plane.fanout.close()
        await super().shutdown(sockets)


def write_ready(path: Path, ready: dict[str, Any]) -> None:
    """Appears whole or not at all."""
    made = path.with_name(f".{path.name}.{os.getpid()}")
    made.write_text(json.dumps(ready, indent=2) + "\n")
    made.replace(path)


async def serve(settings: ControlPlaneSettings) -> bool:
    """Run until a signal comes. Answers whether it started."""
    sys.setswitchinterval(THREAD_SWITCH_S)
    path = settings.data_dir / READY_FILE
    path.unlink(missing_ok=True)
    listener = listen(settings)
    host, port = listener.getsockname()[:2]
    plane = await compose(settings)
    shown = f"[{host}]" if ":" in host else host
    ready = {
        "url": f"http://{shown}:{port}",
        "host": host,
        "port": port,
        "pid": os.getpid(),
        "control_plane_id": plane.id,
        "public_key": plane.signer.public_key,
        "version": plane.version,
    }
    config = uvicorn.Config(
        build_app(plane),
        http="httptools",
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=settings.shutdown_sec,
    )
    server = Server(config, plane, ready, path)
    await server.serve(sockets=[listener])
    return server.started
