"""DATA/run/state.json: what runs now and how far it has come. Written by the supervisor alone, read by anyone."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from controlplane.lifecycle.ports import Ports
from controlplane.lifecycle.processes import Identity


class Stage(StrEnum):
    """How far a start has come, in order; then the ways it ends."""

    PREPARING = "preparing"
    RAY = "ray"
    SERVICE = "service"
    DOOR = "door"
    READY = "ready"
    RESTARTING = "restarting"
    FAILED = "failed"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """Args:
    message: what is being done, or what went wrong.
    head: the Ray head's process, once it was started.
    restarts: how often the cluster was started again since the supervisor began.
    started_at, ready_at: RFC 3339, UTC.
    """

    instance: str
    host: str
    port: int
    url: str
    stage: Stage
    message: str
    supervisor: Identity
    started_at: str
    ready_at: str | None = None
    head: Identity | None = None
    ports: Ports | None = None
    restarts: int = 0

    @property
    def supervised(self) -> bool:
        """Whether the supervisor that wrote this is alive."""
        return self.supervisor.process() is not None

    def write(self, path: Path) -> None:
        """Replace the file as a whole, so that a reader never sees half of it."""
        draft = path.with_suffix(".tmp")
        text = json.dumps({**asdict(self), "supervisor_pid": self.supervisor.pid}, indent=2)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text + "\n")
        draft.replace(path)

    @classmethod
    def read(cls, path: Path) -> RunState | None:
        """None when there is none, or when what is there is not one (an older version's, a damaged one)."""
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            values.pop("supervisor_pid", None)
            return cls(
                **{
                    **values,
                    "stage": Stage(values["stage"]),
                    "supervisor": Identity.from_dict(values["supervisor"]),
                    "head": values["head"] and Identity.from_dict(values["head"]),
                    "ports": values["ports"] and Ports.from_dict(values["ports"]),
                }
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None
