"""Energy counters of Intel and AMD processor packages in ``/sys/class/powercap``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")


@dataclass(slots=True)
class _Package:
    energy: Path
    range_uj: int
    last_uj: int


class RaplCounter:
    """The packages' energy since this object was made, in microjoules, through wrap-arounds.

    A counter wraps after about an hour under full load: read at least every few minutes. ``reason``
    says why nothing can be read; it is empty while the counter works.
    """

    def __init__(self, root: Path = POWERCAP) -> None:
        self.reason = ""
        self._total_uj = 0
        self._packages = self._find(root)

    def read_uj(self) -> int | None:
        """Microjoules since the start, or None when there is no readable counter."""
        if not self._packages:
            return None
        try:
            for package in self._packages:
                now_uj = _integer(package.energy)
                step = now_uj - package.last_uj
                self._total_uj += step if step >= 0 else step + package.range_uj
                package.last_uj = now_uj
        except (OSError, ValueError) as error:
            self.reason = f"the energy counter stopped being readable: {error}"
            self._packages = []
            return None
        return self._total_uj

    def _find(self, root: Path) -> list[_Package]:
        zones = sorted(root.glob("intel-rapl:*")) if root.is_dir() else []
        found = []
        for zone in zones:
            # intel-rapl:0 is a package, intel-rapl:0:1 a part of it that must not count twice.
            if zone.name.count(":") != 1:
                continue
            try:
                if not (zone / "name").read_text().startswith("package"):
                    continue
                energy = zone / "energy_uj"
                package_range = _integer(zone / "max_energy_range_uj")
                found.append(
                    _Package(energy=energy, range_uj=package_range, last_uj=_integer(energy))
                )
            except PermissionError:
                self.reason = (
                    f"{zone / 'energy_uj'} may be read by root only; "
                    "allow it with: chmod a+r " + str(zone / "energy_uj")
                )
                return []
            except (OSError, ValueError) as error:
                self.reason = f"{zone.name}: {error}"
                return []
        if not found:
            self.reason = f"no processor package in {root}"
        return found


def _integer(path: Path) -> int:
    return int(path.read_text())
