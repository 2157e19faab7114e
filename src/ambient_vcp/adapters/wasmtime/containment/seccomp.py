"""The system calls a cell keeps. Built once by the zygote, installed by each cell.

The filter goes in before the module's first byte is read, so compiling hostile code is covered too.
A call outside the list answers EPERM. There is no way to open a file, make a socket, start a
process or thread, signal or trace anything, or map memory that is writable and executable at once.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import tempfile

ALLOWED = (
    "read",
    "pread64",
    "preadv",
    "preadv2",
    "write",
    "writev",
    "lseek",
    "ftruncate",
    "close",
    "recvmsg",
    "munmap",
    "mremap",
    "madvise",
    "brk",
    "membarrier",
    "futex",
    "sched_yield",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sigaltstack",
    "clock_gettime",
    "clock_nanosleep",
    "getrandom",
    "getpid",
    "gettid",
    "restart_syscall",
    "set_robust_list",
    "rseq",
    "exit",
    "exit_group",
)
# Allowed with a condition on an argument.
_NOT_WRITE_AND_EXECUTE = ("mmap", "mprotect")
_ONLY_SELF = "prlimit64"

_MODE_FILTER, _FLAG_TSYNC = 1, 1
_SYSCALL_SECCOMP = {"x86_64": 317, "aarch64": 277}

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def build_program() -> bytes:
    """The filter as BPF instructions for this machine; raises OSError or ImportError without it."""
    import pyseccomp  # noqa: PLC0415 - looks for its library while it is imported, and may not find it

    program = pyseccomp.SyscallFilter(pyseccomp.ERRNO(1))
    for name in ALLOWED:
        if pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name) >= 0:
            program.add_rule(pyseccomp.ALLOW, name)
    both = mmap.PROT_WRITE | mmap.PROT_EXEC
    for name in _NOT_WRITE_AND_EXECUTE:
        for allowed in (0, mmap.PROT_WRITE, mmap.PROT_EXEC):
            condition = pyseccomp.Arg(2, pyseccomp.MASKED_EQ, both, allowed)
            program.add_rule(pyseccomp.ALLOW, name, condition)
    program.add_rule(pyseccomp.ALLOW, _ONLY_SELF, pyseccomp.Arg(0, pyseccomp.EQ, 0))
    with tempfile.TemporaryFile() as file:
        program.export_bpf(file)
        file.seek(0)
        return file.read()


def install(program: bytes, machine: str) -> None:
    """Filter all threads of this process; needs no_new_privs. Raises OSError."""
    if machine not in _SYSCALL_SECCOMP:
        raise OSError(0, f"no system call number known for {machine}")
    filter_program = _Program(length=len(program) // 8, filter=program)
    answer = _libc.syscall(
        ctypes.c_long(_SYSCALL_SECCOMP[machine]),
        ctypes.c_uint(_MODE_FILTER),
        ctypes.c_uint(_FLAG_TSYNC),
        ctypes.byref(filter_program),
    )
    if answer:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number) if number else f"thread {answer} refused")
