"""What a benchmark reports."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured figure. ``ours`` is None when it could not be measured; ``note`` says why.

    ``higher_is_better`` gives the direction of ``target``. ``ratio`` is ours over the best peer.
    """

    figure: str
    unit: str
    ours: float | None
    target: float | None
    higher_is_better: bool
    peers: dict[str, float | None] = field(default_factory=dict)
    note: str = ""

    @property
    def ratio(self) -> float | None:
        known = [value for value in self.peers.values() if value]
        if self.ours is None or not known:
            return None
        return self.ours / (max(known) if self.higher_is_better else min(known))

    @property
    def met(self) -> bool | None:
        if self.ours is None or self.target is None:
            return None
        return self.ours >= self.target if self.higher_is_better else self.ours <= self.target

    def as_dict(self) -> dict[str, object]:
        return {**asdict(self), "ratio": self.ratio, "met": self.met}


def percentile(values: list[float], share: float) -> float:
    """The value below which ``share`` (0 to 1) of ``values`` lie; nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
