"""Everything that a request or a loop may need, in one place."""

from __future__ import annotations

from dataclasses import dataclass

from ambient_vcp.adapters.ed25519.signer import Ed25519Signer
from ambient_vcp.adapters.jose.tokens import Tokens
from ambient_vcp.adapters.obstore.blobs import LocalBlobStore
from ambient_vcp.adapters.obstore.uploads import UploadStaging
from ambient_vcp.adapters.passwords.bcrypt_hasher import PasswordHasher
from ambient_vcp.apps.control_plane.blob_sizes import BlobSizes
from ambient_vcp.apps.control_plane.challenges import ChallengeBook
from ambient_vcp.apps.control_plane.fanout import Fanout
from ambient_vcp.apps.control_plane.programs import ProgramDesk
from ambient_vcp.apps.control_plane.settings import ControlPlaneSettings
from ambient_vcp.apps.control_plane.work import Work
from ambient_vcp.ports.clock import Clock
from ambient_vcp.ports.entropy import Entropy
from ambient_vcp.ports.signer import SignatureVerifier
from ambient_vcp.ports.store import Store
from ambient_vcp.services.settings import WorkSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlPlane:
    """The composed program. ``id`` is the cluster's name, or a UUID kept in the data folder."""

    id: str
    version: str
    settings: ControlPlaneSettings
    rules: WorkSettings
    store: Store
    blobs: LocalBlobStore
    uploads: UploadStaging
    tokens: Tokens
    passwords: PasswordHasher
    signer: Ed25519Signer
    verifier: SignatureVerifier
    clock: Clock
    entropy: Entropy
    programs: ProgramDesk
    blob_sizes: BlobSizes
    challenges: ChallengeBook
    fanout: Fanout
    work: Work

    @property
    def private(self) -> bool:
        return self.settings.visibility == "private"
