"""The machine's sensors: against this machine, and against counters written to disk as files."""

from __future__ import annotations

import os
import time
from pathlib import Path

import psutil
import pytest

from ambient_vcp.adapters.system import SystemClock
from ambient_vcp.adapters.telemetry import Machine
from ambient_vcp.adapters.telemetry.rapl import RaplCounter
from ambient_vcp.domain.nodes.telemetry import Telemetry, invalid_fields
from ambient_vcp.ports.telemetry import MachineSensors

RANGE_UJ = 1_000_000


def a_package(root: Path, name: str, energy_uj: int, *, label: str = "package-0") -> Path:
    zone = root / name
    zone.mkdir(parents=True)
    (zone / "name").write_text(label + "\n")
    (zone / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n")
    (zone / "energy_uj").write_text(f"{energy_uj}\n")
    return zone / "energy_uj"


def test_a_sample_of_this_machine_is_plausible_and_complete() -> None:
    machine: MachineSensors = Machine(SystemClock())
    time.sleep(0.05)

    sample = machine.sample()

    telemetry = Telemetry(
        measured_at_ms=0,
        cpu_percent=sample.cpu_percent,
        memory_percent=sample.memory_percent,
        temperature_c=sample.temperature_c,
        power_watts=sample.power_watts,
        power_source=sample.power_source,
    )
    assert invalid_fields(telemetry) == ()
    assert sample.cpu_percent is not None
    assert sample.memory_available_bytes is not None
    assert 0 < sample.memory_available_bytes <= psutil.virtual_memory().total
    assert sample.power_source in {"rapl", "nvml", "estimate", "unknown"}


def test_a_busy_processor_shows_in_the_sample() -> None:
    machine = Machine(SystemClock())
    machine.sample()
    end = time.perf_counter() + 0.3
    while time.perf_counter() < end:
        pass

    sample = machine.sample()

    cores = psutil.cpu_count() or 1
    assert sample.cpu_percent is not None
    assert sample.cpu_percent >= 0.5 * 100 / cores


def test_every_source_is_described_even_when_it_is_missing(tmp_path: Path) -> None:
    described = Machine(SystemClock(), powercap=tmp_path / "none").describe()

    assert set(described) == {"cpu", "memory", "temperature", "battery", "power", "gpu"}
    assert all(described.values())


def test_package_energy_is_counted_from_the_start(tmp_path: Path) -> None:
    energy = a_package(tmp_path, "intel-rapl:0", 400)
    counter = RaplCounter(tmp_path)

    energy.write_text("1400\n")

    assert counter.read_uj() == 1_000


def test_a_wrapped_counter_goes_on_counting(tmp_path: Path) -> None:
    energy = a_package(tmp_path, "intel-rapl:0", RANGE_UJ - 100)
    counter = RaplCounter(tmp_path)

    energy.write_text("50\n")
    assert counter.read_uj() == 150
    energy.write_text("60\n")
    assert counter.read_uj() == 160


def test_two_packages_add_up_and_their_parts_do_not_count_twice(tmp_path: Path) -> None:
    first = a_package(tmp_path, "intel-rapl:0", 0)
    second = a_package(tmp_path, "intel-rapl:1", 0, label="package-1")
    part = a_package(tmp_path, "intel-rapl:0:0", 0, label="core")
    whole = a_package(tmp_path, "intel-rapl:2", 0, label="psys")
    counter = RaplCounter(tmp_path)

    first.write_text("10\n")
    second.write_text("5\n")
    part.write_text("9\n")
    whole.write_text("99\n")

    assert counter.read_uj() == 15


def test_a_machine_without_counters_says_so(tmp_path: Path) -> None:
    counter = RaplCounter(tmp_path / "none")

    assert counter.read_uj() is None
    assert "no processor package" in counter.reason


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_counter_for_root_only_says_how_to_open_it(tmp_path: Path) -> None:
    energy = a_package(tmp_path, "intel-rapl:0", 0)
    energy.chmod(0)

    counter = RaplCounter(tmp_path)

    assert counter.read_uj() is None
    assert f"chmod a+r {energy}" in counter.reason


def test_a_counter_that_breaks_becomes_unknown_and_stays_so(tmp_path: Path) -> None:
    energy = a_package(tmp_path, "intel-rapl:0", 0)
    counter = RaplCounter(tmp_path)

    energy.write_text("not a number\n")

    assert counter.read_uj() is None
    assert "stopped" in counter.reason


def test_energy_without_a_counter_is_labelled_an_estimate_with_its_formula(tmp_path: Path) -> None:
    machine = Machine(SystemClock(), watts_per_core=4.0, powercap=tmp_path / "none")

    energy = machine.energy_since(machine.mark(), cell_cpu_ms=2_500)

    assert energy.millijoules == 10_000
    assert energy.label == "estimated"
    assert "4 W per core" in energy.source


def test_measured_energy_is_shared_by_processor_time(tmp_path: Path) -> None:
    counter = a_package(tmp_path, "intel-rapl:0", 0)
    machine = Machine(SystemClock(), powercap=tmp_path)
    mark = machine.mark()
    end = time.perf_counter() + 0.3
    while time.perf_counter() < end:
        pass
    counter.write_text("900000\n")

    energy = machine.energy_since(mark, cell_cpu_ms=100)

    assert energy.label == "measured"
    assert energy.source.startswith("rapl-package-shared")
    assert energy.millijoules is not None
    # At least 0.3 s of processor time was busy, of which the cell is said to have used 0.1 s.
    assert 0 < energy.millijoules <= 900 * 0.1 / 0.25


def test_a_cell_is_never_given_more_than_the_whole_package(tmp_path: Path) -> None:
    counter = a_package(tmp_path, "intel-rapl:0", 0)
    machine = Machine(SystemClock(), powercap=tmp_path)
    mark = machine.mark()
    end = time.perf_counter() + 0.1
    while time.perf_counter() < end:
        pass
    counter.write_text("7000\n")

    assert machine.energy_since(mark, cell_cpu_ms=1e9).millijoules == 7


def test_measured_power_is_energy_over_time(tmp_path: Path) -> None:
    counter = a_package(tmp_path, "intel-rapl:0", 0)
    machine = Machine(SystemClock(), powercap=tmp_path)
    time.sleep(0.2)
    counter.write_text("900000\n")

    sample = machine.sample()

    assert sample.power_source == "rapl"
    assert sample.power_watts is not None
    assert 0.5 < sample.power_watts <= 0.9 / 0.2 + 0.1
