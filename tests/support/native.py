"""Runs native code where a guest would be after an escape: behind every layer, and tries things."""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import platform
import resource
import signal
import socket
import threading

from ambient_vcp.adapters.wasmtime.containment import isolation, seccomp

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
# Numbers that x86-64 and aarch64 do not share.
_NUMBERS = {
    "x86_64": {
        "ptrace": 101,
        "process_vm_readv": 310,
        "bpf": 321,
        "userfaultfd": 323,
        "keyctl": 250,
        "unshare": 272,
        "io_uring_setup": 425,
    },
    "aarch64": {
        "ptrace": 117,
        "process_vm_readv": 270,
        "bpf": 280,
        "userfaultfd": 282,
        "keyctl": 219,
        "unshare": 97,
        "io_uring_setup": 425,
    },
}


def attempts_inside_a_cell(port: int, parent: int) -> tuple[set[str], dict[str, str]]:
    """The active layers, and per deed ``done`` or why it failed; nothing lasting is done."""
    try:
        program = seccomp.build_program()
    except (OSError, ImportError, RuntimeError):
        program = None
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        layers = isolation.Layers()
        isolation.enter_cell(layers, program, "")
        isolation.forbid_processes()
        isolation.seal(layers, program)
        outcomes = {deed: _tried(action) for deed, action in _deeds(port, parent).items()}
        os.write(writer, json.dumps([sorted(layers.active), outcomes]).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        active, outcomes = json.loads(pipe.read())
    os.waitpid(pid, 0)
    return set(active), outcomes


def _tried(action) -> str:
    try:
        action()
    except (OSError, RuntimeError, ValueError) as error:
        return type(error).__name__ + ": " + str(error)
    return "done"


def _deeds(port: int, parent: int) -> dict:
    number = _NUMBERS.get(platform.machine(), {})
    return {
        "open a file": lambda: os.open("/etc/passwd", os.O_RDONLY),
        "create a file": lambda: os.open("/tmp/escaped", os.O_CREAT | os.O_WRONLY),
        "list a directory": lambda: os.scandir("/"),
        "tcp socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
        "udp socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
        "unix socket": lambda: socket.socket(socket.AF_UNIX),
        "connect to the host": lambda: socket.socket().connect(("127.0.0.1", port)),
        "execute a program": lambda: os.execv("/bin/true", ["true"]),
        "fork": _fork,
        "start a thread": lambda: threading.Thread(target=int).start(),
        "signal the parent": lambda: os.kill(parent, signal.SIGCONT),
        "trace the parent": lambda: _syscall(number["ptrace"], 16, parent, 0, 0),
        "read the parent's memory": lambda: _read_memory(number["process_vm_readv"], parent),
        "bpf": lambda: _syscall(number["bpf"], 0, 0, 0),
        "io_uring": lambda: _syscall(number["io_uring_setup"], 1, ctypes.create_string_buffer(256)),
        "userfaultfd": lambda: _syscall(number["userfaultfd"], 1),
        "keyctl": lambda: _syscall(number["keyctl"], 0, -3, 1),
        "unshare": lambda: _syscall(number["unshare"], 0x10000000),
        "mount": lambda: _checked(_libc.mount(b"none", b"/mnt", b"tmpfs", 0, None)),
        "map writable and executable memory": _map_both,
        "raise a limit": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096)),
        "become root": lambda: os.setresuid(0, 0, 0),
    }


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)


def _map_both() -> None:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()


def _read_memory(number: int, pid: int) -> None:
    buffer = ctypes.create_string_buffer(8)
    local = (ctypes.c_size_t * 2)(ctypes.addressof(buffer), 8)
    remote = (ctypes.c_size_t * 2)(id(buffer), 8)
    _syscall(number, pid, local, 1, remote, 1, 0)


def _syscall(number: int, *arguments) -> None:
    plain = [ctypes.c_long(item) if isinstance(item, int) else item for item in arguments]
    _checked(_libc.syscall(ctypes.c_long(number), *plain))


def _checked(answer: int) -> None:
    if answer < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
