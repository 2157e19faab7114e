"""Write a golden log beside this program: leaves, checkpoints and one consistency proof.

Run `python tests/vectors/log/generate.py`. The file has JSON: `origin`, `public_key`, `leaves`
(hexadecimal leaf data), `checkpoints` (signed notes) and `consistency` between the last two.
"""

import json
from pathlib import Path

from ambient_vcp.domain.log.merkle import consistency_proof
from ambient_vcp.testing.receipt_kinds import BODIES
from ambient_vcp.testing.receipts import audit_leaf, new_log, sign_body

FOLDER = Path(__file__).parent
CHECKPOINT_EVERY = 5


def content() -> str:
    log, notes, sizes = new_log(), [], []
    leaves = [audit_leaf(number) for number in range(10)]
    leaves += [body.leaf_data(sign_body(body)) for body in (make() for make in BODIES.values())]
    for number, leaf in enumerate(leaves, start=1):
        log.append(leaf)
        if number % CHECKPOINT_EVERY == 0 or number == len(leaves):
            notes.append(log.checkpoint())
            sizes.append(number)
    old, new = sizes[-2:]
    proof = consistency_proof(old, new, log.lookup)
    golden = {
        "origin": log.origin,
        "public_key": log.signer.public_key,
        "leaves": [leaf.hex() for leaf in leaves],
        "checkpoints": notes,
        "consistency": {"old": old, "new": new, "path": [each.hex() for each in proof]},
    }
    return json.dumps(golden, indent=1) + "\n"


def main() -> None:
    (FOLDER / "log.json").write_text(content(), encoding="utf-8")
    print("log.json")


if __name__ == "__main__":
    main()
