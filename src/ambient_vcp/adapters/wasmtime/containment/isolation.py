"""The layers around a cell. Each is tried, and says whether it holds; none is required.

Order matters: namespaces are the zygote's and come first; identity before the parent-death signal
(changing identity clears it); no_new_privs before Landlock and seccomp (they demand it); seccomp
last.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import resource
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from ambient_vcp.adapters.wasmtime.containment import landlock, seccomp

ADDRESS_SPACE_SLACK_BYTES = 1024 * 1024 * 1024
OUTPUT_SLACK_BYTES = 1024 * 1024
STACK_BYTES = 64 * 1024 * 1024
OPEN_FILES_MAX = 16
NOBODY = 65_534

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38
_CAPABILITY_VERSION_3 = 0x20080522
_NAMESPACES = {
    "mount_namespace": 0x00020000,
    "uts_namespace": 0x04000000,
    "ipc_namespace": 0x08000000,
    "network_namespace": 0x40000000,
}
_NAMESPACE_WORDS = {
    "mount_namespace": "own copy of the mounts, which no change leaves",
    "uts_namespace": "own host name",
    "ipc_namespace": "own, empty",
    "network_namespace": "own, with no interface that is up",
}
_CLONE_NEWUSER, _CLONE_NEWPID = 0x10000000, 0x20000000
_MS_REC_PRIVATE = 0x4000 | 0x40000

_libc = ctypes.CDLL(None, use_errno=True)
_libc.prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4


@dataclass(slots=True)
class Layers:
    """What holds and what does not, each with a few words."""

    active: dict[str, str] = field(default_factory=dict)
    inactive: dict[str, str] = field(default_factory=dict)

    def attempt(self, name: str, apply: Callable[[], str | None], otherwise: str = "") -> bool:
        """Try one layer; any failure is recorded and survived."""
        try:
            self.active[name] = apply() or "on"
        except (OSError, ImportError, ValueError, RuntimeError) as error:
            self.inactive[name] = otherwise or str(error)
            return False
        return True


def enter_namespaces(layers: Layers) -> None:
    """Give this single-threaded process, and what it forks, namespaces of its own."""
    uid, gid = os.getuid(), os.getgid()
    if uid:
        if not layers.attempt("user_namespace", lambda: _new_user_namespace(uid, gid)):
            for name in (*_NAMESPACES, "pid_namespace"):
                layers.inactive[name] = "needs root or a user namespace"
            return
    else:
        layers.inactive["user_namespace"] = "runs as root: cells change to nobody instead"
    for name, flag in _NAMESPACES.items():
        layers.attempt(name, partial(_unshare, flag, _NAMESPACE_WORDS[name]))
    if "mount_namespace" in layers.active:
        with contextlib.suppress(OSError):
            _checked(
                "mount", _libc.mount(b"none", b"/", None, ctypes.c_ulong(_MS_REC_PRIVATE), None)
            )
    layers.attempt(
        "pid_namespace", partial(_unshare, _CLONE_NEWPID, "own, only cells of this agent")
    )


def enter_cell(layers: Layers, filter_program: bytes | None, filter_why: str) -> None:
    """Everything that does not depend on the job. seccomp is installed by ``seal``."""
    os.setsid()
    layers.active["process"] = "a fresh process and session for each run, killed as a group"
    if os.getuid():
        layers.inactive["uid_drop"] = "not root: keeps the agent's user"
    else:
        layers.attempt("uid_drop", _drop_identity)
    layers.attempt("no_capabilities", _drop_capabilities)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    layers.attempt("not_dumpable", lambda: _prctl(_PR_SET_DUMPABLE, 0))
    layers.attempt("rlimits", _fixed_rlimits)
    layers.attempt("no_new_privs", lambda: _prctl(_PR_SET_NO_NEW_PRIVS, 1))
    layers.attempt("landlock", landlock.restrict_self)
    if filter_program is None:
        layers.inactive["seccomp"] = filter_why


def seal(layers: Layers, filter_program: bytes | None) -> None:
    """Install the system call filter on every thread; after this nothing can be opened."""
    if filter_program is not None:
        layers.attempt("seccomp", lambda: _install(filter_program))


def job_rlimits(memory_bytes: int, cpu_s: int, output_bytes: int) -> None:
    """Limits that follow from one job. Lowering only, so they cannot be taken back."""
    address_space = memory_bytes + ADDRESS_SPACE_SLACK_BYTES
    _lower(resource.RLIMIT_AS, address_space)
    _lower(resource.RLIMIT_CPU, cpu_s, cpu_s + 1)
    _lower(resource.RLIMIT_FSIZE, output_bytes + OUTPUT_SLACK_BYTES)


def _install(program: bytes) -> str:
    seccomp.install(program, platform.machine())
    return f"{len(seccomp.ALLOWED) + 3} system calls, everything else is refused"


def _fixed_rlimits() -> str:
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_NOFILE, OPEN_FILES_MAX)
    _lower(resource.RLIMIT_STACK, STACK_BYTES)
    _lower(resource.RLIMIT_MEMLOCK, 0)
    _lower(resource.RLIMIT_MSGQUEUE, 0)
    return "address space, CPU time, file size, files, stack, no core, no processes"


def forbid_processes() -> None:
    """After the cell's own timer thread exists: no more threads or processes for this user."""
    _lower(resource.RLIMIT_NPROC, 0)


def _lower(kind: int, soft: int, hard: int | None = None) -> None:
    _, ceiling = resource.getrlimit(kind)
    wanted = soft if hard is None else hard
    allowed = wanted if ceiling == resource.RLIM_INFINITY else min(wanted, ceiling)
    resource.setrlimit(kind, (min(soft, allowed), allowed))


def _drop_identity() -> str:
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    return f"user and group {NOBODY}, no groups, no capabilities"


def _drop_capabilities() -> str:
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    _checked("capset", _libc.capset(ctypes.byref(header), ctypes.byref(nothing)))
    return "on"


def _new_user_namespace(uid: int, gid: int) -> str:
    _unshare(_CLONE_NEWUSER, "")
    Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1", encoding="ascii")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1", encoding="ascii")
    return f"only user {uid} and group {gid} exist"


def _unshare(flag: int, words: str) -> str:
    _checked("unshare", _libc.unshare(ctypes.c_int(flag)))
    return words


def _prctl(option: int, value: int) -> str:
    _checked("prctl", _libc.prctl(option, value, 0, 0, 0))
    return "on"


def _checked(what: str, answer: int) -> None:
    if answer:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
