"""Write one golden receipt of every kind beside this program, and the key that issued them.

Run `python tests/vectors/receipts/generate.py`. Keys and times are fixed, so a run changes nothing
unless the format changed; a changed file means that receipts issued before no longer verify, and
then the version of the format has to change instead.
"""

from pathlib import Path

from ambient_vcp.testing.receipt_kinds import BODIES
from ambient_vcp.testing.receipts import CONTROL_PLANE_ID, sealed, signer_of

FOLDER = Path(__file__).parent


def files() -> dict[str, str]:
    """The content of every file, by name."""
    found = {f"{name}.json": sealed(body()).to_json() + "\n" for name, body in BODIES.items()}
    return found | {"control_plane.pub": signer_of(CONTROL_PLANE_ID).public_key + "\n"}


def main() -> None:
    for name, content in files().items():
        (FOLDER / name).write_text(content, encoding="utf-8")
        print(name)


if __name__ == "__main__":
    main()
