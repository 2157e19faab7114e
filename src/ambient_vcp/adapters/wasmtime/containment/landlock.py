"""Landlock by system call: takes every right to files, TCP and foreign processes from this thread.

The kernel answers with the version it has; older versions get the rights they know.
"""

from __future__ import annotations

import ctypes
import os

_CREATE_RULESET, _RESTRICT_SELF = 444, 446  # the same number on every architecture
_VERSION_QUERY = 1

# Rights by the version that brought them. A right that is handled and granted nowhere is denied.
_WITH_REFER, _WITH_TRUNCATE, _WITH_TCP, _WITH_IOCTL, _WITH_SCOPE = 2, 3, 4, 5, 6
_FILE_RIGHTS_V1 = (1 << 13) - 1
_RIGHT_REFER, _RIGHT_TRUNCATE, _RIGHT_IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_NET_BIND_CONNECT_TCP = 0b11
_SCOPE_ABSTRACT_UNIX_AND_SIGNAL = 0b11

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


class _RulesetAttributes(ctypes.Structure):
    _fields_ = (
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


def restrict_self() -> str:
    """Deny all; returns what was denied. Needs no_new_privs; raises OSError where unsupported."""
    version = _libc.syscall(
        ctypes.c_long(_CREATE_RULESET), None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION_QUERY)
    )
    if version < 1:
        raise _failure("this kernel has no Landlock")
    attributes = _RulesetAttributes(handled_access_fs=_FILE_RIGHTS_V1)
    denied, size = ["files"], 8
    if version >= _WITH_REFER:
        attributes.handled_access_fs |= _RIGHT_REFER
    if version >= _WITH_TRUNCATE:
        attributes.handled_access_fs |= _RIGHT_TRUNCATE
    if version >= _WITH_TCP:
        attributes.handled_access_net = _NET_BIND_CONNECT_TCP
        denied, size = [*denied, "TCP"], 16
    if version >= _WITH_IOCTL:
        attributes.handled_access_fs |= _RIGHT_IOCTL_DEV
    if version >= _WITH_SCOPE:
        attributes.scoped = _SCOPE_ABSTRACT_UNIX_AND_SIGNAL
        denied, size = [*denied, "abstract sockets", "signals"], 24
    ruleset = _libc.syscall(
        ctypes.c_long(_CREATE_RULESET),
        ctypes.byref(attributes),
        ctypes.c_size_t(size),
        ctypes.c_uint32(0),
    )
    if ruleset < 0:
        raise _failure("making the ruleset")
    try:
        if _libc.syscall(ctypes.c_long(_RESTRICT_SELF), ctypes.c_int(ruleset), ctypes.c_uint32(0)):
            raise _failure("applying the ruleset")
    finally:
        os.close(ruleset)
    return f"version {version}: no {', no '.join(denied)}"


def _failure(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")
