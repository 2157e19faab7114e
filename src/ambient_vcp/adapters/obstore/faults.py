"""What a disk's errors mean to a caller."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from obstore.exceptions import BaseError

from ambient_vcp.domain.errors import UnavailableError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turn errors of the disk or the object store into UnavailableError; nothing else."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        full = error.errno in _FULL
        why = "no space left for blobs" if full else f"the blob store failed while {doing}"
        raise UnavailableError(reason=why) from error
    except BaseError as error:
        full = any(word in str(error) for word in ("No space left", "File too large", "quota"))
        why = "no space left for blobs" if full else f"the blob store failed while {doing}"
        raise UnavailableError(reason=why) from error
