"""Ed25519 keys and signatures: OpenSSL through `cryptography`, with the checks it leaves out."""

from ambient_vcp.adapters.ed25519.key_file import KeyFileError
from ambient_vcp.adapters.ed25519.signer import Ed25519Signer
from ambient_vcp.adapters.ed25519.verifier import Ed25519Verifier

__all__ = ["Ed25519Signer", "Ed25519Verifier", "KeyFileError"]
