"""What a guest may import, with exact types. Anything that is not listed here is refused."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Signature:
    """Parameter and result types by name (``i32``, ``i64``, ``f32``, ``f64``, ...)."""

    params: tuple[str, ...]
    results: tuple[str, ...]

    def __str__(self) -> str:
        return f"({', '.join(self.params)}) -> ({', '.join(self.results)})"


VCP_MODULE = "vcp"
WASI_MODULE = "wasi_snapshot_preview1"
ENV_MODULE = "env"

_NAMES = {"i": "i32", "I": "i64"}


def _signature(params: str, results: str = "") -> Signature:
    return Signature(tuple(_NAMES[c] for c in params), tuple(_NAMES[c] for c in results))


VCP_IMPORTS = {
    "input_len": _signature("i", "i"),  # kind
    "input_read": _signature("iiii", "i"),  # kind, ptr, offset, len
    "output_write": _signature("ii"),  # ptr, len
}

# AssemblyScript's failure report (message, file, line, column); every module it compiles has it.
ENV_IMPORTS = {"abort": _signature("iiii")}

WASI_IMPORTS = {
    name: _signature(*types.split(":"))
    for name, types in {
        "args_get": "ii:i",
        "args_sizes_get": "ii:i",
        "environ_get": "ii:i",
        "environ_sizes_get": "ii:i",
        "clock_res_get": "ii:i",
        "clock_time_get": "iIi:i",
        "fd_advise": "iIIi:i",
        "fd_allocate": "iII:i",
        "fd_close": "i:i",
        "fd_datasync": "i:i",
        "fd_fdstat_get": "ii:i",
        "fd_fdstat_set_flags": "ii:i",
        "fd_fdstat_set_rights": "iII:i",
        "fd_filestat_get": "ii:i",
        "fd_filestat_set_size": "iI:i",
        "fd_filestat_set_times": "iIIi:i",
        "fd_pread": "iiiIi:i",
        "fd_prestat_get": "ii:i",
        "fd_prestat_dir_name": "iii:i",
        "fd_pwrite": "iiiIi:i",
        "fd_read": "iiii:i",
        "fd_readdir": "iiiIi:i",
        "fd_renumber": "ii:i",
        "fd_seek": "iIii:i",
        "fd_sync": "i:i",
        "fd_tell": "ii:i",
        "fd_write": "iiii:i",
        "path_create_directory": "iii:i",
        "path_filestat_get": "iiiii:i",
        "path_filestat_set_times": "iiiiIIi:i",
        "path_link": "iiiiiii:i",
        "path_open": "iiiiiIIii:i",
        "path_readlink": "iiiiii:i",
        "path_remove_directory": "iii:i",
        "path_rename": "iiiiii:i",
        "path_symlink": "iiiii:i",
        "path_unlink_file": "iii:i",
        "poll_oneoff": "iiii:i",
        "proc_exit": "i:",
        "proc_raise": "i:i",
        "random_get": "ii:i",
        "sched_yield": ":i",
        "sock_accept": "iii:i",
        "sock_recv": "iiiiii:i",
        "sock_send": "iiiii:i",
        "sock_shutdown": "ii:i",
    }.items()
}

IMPORTS = {VCP_MODULE: VCP_IMPORTS, WASI_MODULE: WASI_IMPORTS, ENV_MODULE: ENV_IMPORTS}

# Libraries compiled for WASI (TinyGo, wasi-libc) carry its imports even in a module that only
# exports functions, so they link everywhere; the bytes interface is not for WASI commands.
ALLOWED_MODULES = {
    "scalar": frozenset({VCP_MODULE, WASI_MODULE, ENV_MODULE}),
    "bytes": frozenset({VCP_MODULE, WASI_MODULE, ENV_MODULE}),
    "wasi": frozenset({WASI_MODULE, ENV_MODULE}),
}
