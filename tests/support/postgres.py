"""A real PostgreSQL server for tests: Debian's binaries, a folder of its own, ended by process id.

The server listens on loopback and on a socket in its folder, with the settings of a production
server (``fsync`` and ``full_page_writes`` on). Started by root it runs as ``postgres`` or
``nobody``, because it refuses to run as root.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg

from support.debian import install, may_install

INSTALL_HINT = "install it with: apt-get install postgresql"
START_SEC_MAX = 60


class PostgresMissingError(RuntimeError):
    """No server can be started here; the message says what to install."""


def find_binaries() -> Path | None:
    """The folder of ``initdb`` and ``postgres``."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=_version, reverse=True)
    candidates = [path.parent for path in found]
    on_path = shutil.which("postgres")
    if on_path:
        candidates.append(Path(on_path).resolve().parent)
    for folder in candidates:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    return None


def _version(path: Path) -> int:
    name = path.parent.parent.name
    return int(name) if name.isdigit() else 0


def binaries() -> Path:
    """The same, after installing the package if that is possible.

    Raises:
        PostgresMissingError: it is not there and cannot be installed.
    """
    folder = find_binaries()
    if folder is not None:
        return folder
    if not may_install():
        raise PostgresMissingError(f"PostgreSQL is not installed; {INSTALL_HINT}")
    install("postgresql")
    folder = find_binaries()
    if folder is None:
        raise PostgresMissingError(f"PostgreSQL could not be installed; {INSTALL_HINT}")
    return folder


def _server_user() -> pwd.struct_passwd | None:
    """Whom the server runs as; None for ourselves."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise PostgresMissingError("there is no user postgres or nobody to run the server as")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class PostgresServer:
    """A running server. ``settings`` are added to those of the command line."""

    def __init__(self, settings: dict[str, str] | None = None) -> None:
        self._binaries = binaries()
        self._user = _server_user()
        self._settings = settings or {}
        self.folder = Path(tempfile.mkdtemp(prefix="vcp-pg-"))
        if self._user is not None:
            os.chown(self.folder, self._user.pw_uid, self._user.pw_gid)
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._initialise()
            self.start()
        except BaseException:
            self.close()
            raise

    def _as_user(self) -> dict[str, object]:
        if self._user is None:
            return {}
        return {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}

    def _initialise(self) -> None:
        done = subprocess.run(
            [
                self._binaries / "initdb",
                *("-D", self.folder / "data"),
                *("-U", "vcp", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"),
            ],
            cwd=self.folder,
            capture_output=True,
            timeout=120,
            check=False,
            **self._as_user(),
        )
        if done.returncode != 0:
            raise RuntimeError(f"initdb failed: {done.stderr.decode()[-2000:]}")

    def start(self) -> None:
        """Start and wait until it answers."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.folder),
            "port": str(self.port),
            "max_connections": "120",
            "log_min_messages": "fatal",
        } | self._settings
        arguments = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._binaries / "postgres", "-D", self.folder / "data", *arguments],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **self._as_user(),
            )
        deadline = time.monotonic() + START_SEC_MAX
        while True:
            try:
                psycopg.connect(self.dsn("postgres"), connect_timeout=2).close()
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    log_text = (self.folder / "server.log").read_text()[-2000:]
                    raise RuntimeError(f"the server did not start: {log_text}") from None
                time.sleep(0.05)
            else:
                return

    def dsn(self, database: str) -> str:
        return f"postgresql://vcp@127.0.0.1:{self.port}/{database}"

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT: fast shutdown. SIGQUIT: immediate, as after a crash."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(timeout=60)
            self._process = None

    def close(self) -> None:
        try:
            self.stop()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, database: str, *statements: str) -> None:
        """Run statements outside of any transaction."""
        with psycopg.connect(self.dsn(database), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)  # type: ignore[call-overload]  # a plain str, in tests only
