"""What the fake control plane answers and remembers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

KEY = "cp_test_key"


@dataclass
class FakeControlPlane:
    """Args: answers: (method, path) → (status, body); anything else is 404."""

    url: str
    answers: dict[tuple[str, str], tuple[int, Any]] = field(default_factory=dict)
    asked: list[tuple[str, str, Any]] = field(default_factory=list)

    def answer(self, method: str, path: str, body: Any, status: int = 200) -> None:
        self.answers[method, path] = (status, body)

    @property
    def last_body(self) -> Any:
        return self.asked[-1][2]
