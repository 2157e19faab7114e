"""Puts the program together: the one place that knows which adapter fills which port."""

from __future__ import annotations

import fcntl
import os
from importlib.metadata import version
from pathlib import Path
from typing import TextIO

from ambient_vcp.adapters.catalogue.loader import load_catalogue
from ambient_vcp.adapters.ed25519.signer import Ed25519Signer
from ambient_vcp.adapters.ed25519.verifier import Ed25519Verifier
from ambient_vcp.adapters.jose.key_file import load_or_create
from ambient_vcp.adapters.jose.tokens import Tokens
from ambient_vcp.adapters.obstore.blobs import LocalBlobStore
from ambient_vcp.adapters.obstore.uploads import UploadStaging
from ambient_vcp.adapters.passwords.bcrypt_hasher import PasswordHasher
from ambient_vcp.adapters.sql.store import SqlStore
from ambient_vcp.adapters.system import SystemClock, SystemEntropy
from ambient_vcp.apps.control_plane.blob_sizes import BlobSizes
from ambient_vcp.apps.control_plane.challenges import ChallengeBook
from ambient_vcp.apps.control_plane.fanout import Fanout
from ambient_vcp.apps.control_plane.plane import ControlPlane
from ambient_vcp.apps.control_plane.programs import ProgramDesk
from ambient_vcp.apps.control_plane.settings import ControlPlaneSettings
from ambient_vcp.apps.control_plane.work import Work
from ambient_vcp.domain.errors import ConflictError
from ambient_vcp.domain.tasks.spec import INLINE_INPUT_BYTES_MAX
from ambient_vcp.ports.entropy import Entropy


def prepare_folder(data_dir: Path) -> TextIO:
    """Make the data folder and lock it for this process; closing the answer unlocks it.

    Raises:
        ConflictError: another control plane works in this folder.
    """
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    (data_dir / "keys").mkdir(mode=0o700, exist_ok=True)
    lock = (data_dir / "lock").open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise ConflictError(
            what=f"another control plane works in {data_dir}",
            advice="Stop it first, or choose another data folder.",
        ) from None
    return lock


async def compose(settings: ControlPlaneSettings) -> ControlPlane:
    """Open everything. Nothing runs yet."""
    data_dir = settings.data_dir.absolute()
    clock, entropy = SystemClock(), SystemEntropy()
    control_plane_id = settings.cluster or _kept_id(data_dir / "control-plane-id", entropy)
    rules = settings.work()
    signer = Ed25519Signer.load_or_create(data_dir / "keys" / "control-plane.pem")
    store = await SqlStore.open(settings.database_url())
    blobs = LocalBlobStore(data_dir / "blobs")
    uploads = UploadStaging(data_dir / "uploads", blobs)
    fanout = Fanout(store, listeners_max=settings.streams_max)
    programs = ProgramDesk(load_catalogue())
    for module in programs.modules():
        if len(module) > INLINE_INPUT_BYTES_MAX:
            await blobs.put(module)
    return ControlPlane(
        id=control_plane_id,
        version=version("ambient-vcp"),
        settings=settings,
        rules=rules,
        store=store,
        blobs=blobs,
        uploads=uploads,
        tokens=Tokens(
            load_or_create(data_dir / "keys" / "tokens.json"),
            issuer=control_plane_id,
            clock=clock,
            entropy=entropy,
        ),
        passwords=PasswordHasher(cost=settings.bcrypt_cost),
        signer=signer,
        verifier=Ed25519Verifier(),
        clock=clock,
        entropy=entropy,
        programs=programs,
        blob_sizes=BlobSizes(store),
        challenges=ChallengeBook(clock, entropy),
        fanout=fanout,
        work=Work(
            store=store,
            uploads=uploads,
            fanout=fanout,
            rules=rules,
            signer=signer,
            control_plane_id=control_plane_id,
            clock=clock,
            entropy=entropy,
        ),
    )


def _kept_id(path: Path, entropy: Entropy) -> str:
    """The UUID in the file, made at the first start."""
    if not path.exists():
        made = path.with_name(f"{path.name}.{os.getpid()}")
        made.write_text(entropy.uuid4() + "\n")
        made.replace(path)
    return path.read_text().strip()
