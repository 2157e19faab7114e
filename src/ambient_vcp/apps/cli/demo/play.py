"""The whole demonstration: curtain up, the scenarios, the table."""

from __future__ import annotations

import json
import time
from pathlib import Path

from ambient_vcp.adapters.profiles.profile import Profile
from ambient_vcp.adapters.profiles.store import ProfileStore
from ambient_vcp.apps.cli.connection import client_for, environment
from ambient_vcp.apps.cli.demo import proof, trouble, work
from ambient_vcp.apps.cli.demo.narrator import Narrator
from ambient_vcp.apps.cli.demo.report import print_table, report
from ambient_vcp.apps.cli.demo.stage import HONEST_NODES, Stage
from ambient_vcp.apps.cli.failures import Exit
from ambient_vcp.apps.cli.local_cluster import LocalCluster, free_port, open_account

LEASE_S = 6.0
SWEEP_S = 1.0
HEARTBEAT_S = 1.0
PREFIX = "AMBIENT_VCP_CONTROL_PLANE_"


def play(folder: Path, examples: Path, output: Path, report_file: Path | None) -> int:
    """Run every scenario on a fresh cluster in ``folder``; answer the exit code."""
    began = time.monotonic()
    narrator = Narrator()
    cluster = LocalCluster(
        data_dir=folder,
        port=free_port(0),
        cluster="demo",
        variables={
            f"{PREFIX}LEASE_MS": str(int(LEASE_S * 1000)),
            f"{PREFIX}SWEEP_MS": str(int(SWEEP_S * 1000)),
            f"{PREFIX}HEARTBEAT_MS": str(int(HEARTBEAT_S * 1000)),
        },
    )
    try:
        narrator.heading(
            "Starting a control plane and three nodes, each a process with its own key"
        )
        narrator.say(
            f"  (leases of {LEASE_S:g} s, swept every {SWEEP_S:g} s; 30 s and 5 s are usual)"
        )
        cluster.start_control_plane()
        narrator.step(f"control plane at {cluster.endpoint}")
        account, token = open_account(cluster.endpoint, folder)
        with client_for(endpoint=cluster.endpoint, token=token) as client:
            about = client.control_plane()
            profile = Profile(
                name="demo",
                endpoint=cluster.endpoint,
                username=account.username,
                token=token,
                public_key=about["public_key"],
                control_plane_id=about["control_plane_id"],
            )
            ProfileStore(environment()).save(profile)
            for node_id in HONEST_NODES:
                cluster.launch_node(client, node_id)
            for node_id in HONEST_NODES:
                cluster.wait_for_node(client, node_id)
                key = client.node(node_id).raw["public_key"]
                narrator.step(f"{node_id} online, key {key[:16]}...")
            stage = Stage(
                cluster=cluster,
                client=client,
                examples=examples,
                output_dir=output,
                narrator=narrator,
                lease_s=LEASE_S,
                sweep_s=SWEEP_S,
            )
            narrator.listen(cluster.endpoint, token)
            _all_scenarios(stage, folder / "home")
    finally:
        narrator.stop()
        cluster.stop()
    return _conclude(stage, time.monotonic() - began, report_file)


def _all_scenarios(stage: Stage, home: Path) -> None:

    for scenario in (
        work.scalar_call,
        work.image_filter,
        work.word_count,
        trouble.liar,
        trouble.killed_node,
        trouble.misbehaving_guests,
    ):
        scenario(stage)
    proof.receipts_offline(stage, home)


def _conclude(stage: Stage, seconds: float, report_file: Path | None) -> int:

    print()
    print_table(stage.scenarios)
    written = report(stage, seconds)
    if report_file is not None:
        report_file.parent.mkdir(parents=True, exist_ok=True)
        report_file.write_text(json.dumps(written, indent=2) + "\n")
    deviations = [
        f"{scenario.number}. {each.claim}: {each.seen}"
        for scenario in stage.scenarios
        for each in scenario.expectations
        if not each.ok
    ]
    count = sum(len(scenario.expectations) for scenario in stage.scenarios)
    print(f"\nPicture and receipts: {stage.output_dir}")
    print(f"{count - len(deviations)} of {count} claims held, in {seconds:.1f} s.")
    for deviation in deviations:
        print(f"DEVIATION  {deviation}")
    return Exit.FAILED if deviations else Exit.OK
