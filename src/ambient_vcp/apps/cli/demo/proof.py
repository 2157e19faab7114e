"""The last act: other processes, without a network, check every receipt and refuse forgeries."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from ambient_vcp.apps.cli.demo.stage import Stage

VERIFY_TIMEOUT_S = 120
ISOLATIONS = (("unshare", "--net"), ("unshare", "--user", "--map-root-user", "--net"))
VERIFY = (sys.executable, "-m", "ambient_vcp.apps.cli", "verify", "--format", "json")


def receipts_offline(stage: Stage, home: Path) -> None:
    """Verify all, then forgeries of all: one byte of each changed at a random place."""
    with stage.scenario("Every receipt is verified offline by a separate process"):
        isolation = no_network()
        how = "in a network namespace without a network" if isolation else (
            "with the network reachable: this machine lets nobody make a network namespace"
        )  # fmt: skip
        stage.narrator.step(f"`ambient-vcp verify` runs {how}")
        stage.current.figures["network_namespace"] = bool(isolation)
        receipts = list(stage.receipts.values())
        code, answers = _verify(isolation, home, receipts)
        good = [answer for answer in answers if answer["ok"]]
        stage.expect(
            "all receipts are valid and their signer is trusted",
            ok=code == 0 and len(good) == len(receipts) > 0,
            seen=f"{len(good)} of {len(receipts)}, exit code {code}",
        )
        for answer in answers:
            if not answer["ok"]:
                failed = [each for each in answer["checks"] if not each["ok"]]
                why = "; ".join(f"{each['name']}: {each['explanation']}" for each in failed)
                stage.expect(f"receipt {answer['receipt']} is valid", ok=False, seen=why)
        forged, places = _forge(stage, receipts)
        code, answers = _verify(isolation, home, forged)
        refused = [answer for answer in answers if not answer["ok"]]
        stage.current.figures["forged_at_byte"] = places
        stage.expect(
            "each with one changed byte is refused",
            ok=code == 1 and len(refused) == len(forged) > 0,
            seen=f"{len(refused)} of {len(forged)}, exit code {code}",
        )
        for answer in answers:
            if answer["ok"]:
                stage.expect(
                    f"forged receipt {answer['receipt']} is refused", ok=False, seen="accepted"
                )


def no_network() -> tuple[str, ...]:
    """A prefix that runs a command without a network, or nothing where that is not allowed."""
    for prefix in ISOLATIONS:
        if shutil.which(prefix[0]) is None:
            continue
        tried = subprocess.run([*prefix, "true"], capture_output=True, check=False)
        if tried.returncode == 0:
            return prefix
    return ()


def _verify(
    isolation: tuple[str, ...], home: Path, receipts: list[Path]
) -> tuple[int, list[dict[str, Any]]]:
    done = subprocess.run(
        [*isolation, *VERIFY, *map(str, receipts)],
        capture_output=True,
        check=False,
        timeout=VERIFY_TIMEOUT_S,
        env={**os.environ, "AMBIENT_VCP_HOME": str(home)},  # noqa: TID251 - handed on, not read
    )
    if not done.stdout:
        return done.returncode, []
    return done.returncode, json.loads(done.stdout)["data"]


def _forge(stage: Stage, receipts: list[Path]) -> tuple[list[Path], dict[str, int]]:
    """A copy of each receipt with one bit of one byte flipped."""
    forged: list[Path] = []
    places: dict[str, int] = {}
    folder = stage.output_dir / "forged"
    folder.mkdir(exist_ok=True)
    for receipt in receipts:
        data = bytearray(receipt.read_bytes())
        place = int.from_bytes(os.urandom(8), "big") % len(data)
        data[place] ^= 1
        path = folder / receipt.name
        path.write_bytes(data)
        places[receipt.name] = place
        forged.append(path)
    return forged, places
