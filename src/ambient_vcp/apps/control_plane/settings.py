"""Everything that can be set, each with its unit, bounds and default."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from ambient_vcp.domain.scheduling.view import Strategy
from ambient_vcp.domain.tasks.policy import PROFILES
from ambient_vcp.services.settings import WorkSettings


class ControlPlaneSettings(BaseSettings):
    """From the command line, else from ``AMBIENT_VCP_CONTROL_PLANE_*``, else the default."""

    model_config = SettingsConfigDict(
        env_prefix="AMBIENT_VCP_CONTROL_PLANE_",
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        validate_default=True,
    )

    data_dir: Path
    host: Annotated[str, Field(min_length=1, max_length=255)] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8420
    database: Annotated[str, Field(max_length=2_048, repr=False)] = ""
    """Empty: an SQLite file in the data folder."""

    profile: Literal["public", "local"] = "local"
    visibility: Literal["private", "public"] = "private"
    """Private: one owner's cluster; replicas may share owner and network, and receipts say so."""

    cluster: Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z0-9_.-]*$")] = ""
    strategy: Strategy = Strategy.WEIGHTED
    registration: Literal["open", "closed"] = "open"

    lease_ms: Annotated[int, Field(ge=500, le=3_600_000)] = 30_000
    sweep_ms: Annotated[int, Field(ge=50, le=600_000)] = 5_000
    heartbeat_ms: Annotated[int, Field(ge=100, le=600_000)] = 10_000
    offline_after_ms: Annotated[int, Field(ge=300, le=3_600_000)] = 35_000
    leases_per_node_max: Annotated[int, Field(ge=1, le=1_000)] = 50

    account_token_sec: Annotated[int, Field(ge=60, le=2_592_000)] = 86_400
    node_token_sec: Annotated[int, Field(ge=60, le=86_400)] = 900
    bcrypt_cost: Annotated[int, Field(ge=4, le=16)] = 12

    streams_max: Annotated[int, Field(ge=1, le=100_000)] = 5_000
    requests_max: Annotated[int, Field(ge=1, le=100_000)] = 2_000
    """Requests worked on at once; more are told to come back."""

    stream_comment_ms: Annotated[int, Field(ge=50, le=60_000)] = 15_000
    shutdown_sec: Annotated[int, Field(ge=1, le=300)] = 10
    access_log: bool = True
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    def database_url(self) -> str:
        return self.database or f"sqlite:///{self.data_dir.absolute() / 'control-plane.db'}"

    def work(self) -> WorkSettings:
        """The same for the use cases."""
        return WorkSettings(
            profile=PROFILES[self.profile],
            strategy=self.strategy,
            private_cluster=self.visibility == "private",
            lease_ms=self.lease_ms,
            sweep_ms=self.sweep_ms,
            heartbeat_ms=self.heartbeat_ms,
            offline_after_ms=self.offline_after_ms,
            leases_per_node_max=self.leases_per_node_max,
        )
