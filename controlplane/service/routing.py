"""Which door a request is for, and which roles may open it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from actors.api_keys import Caller
from controlplane.errors import NotFoundError
from controlplane.wire.json_input import LIMIT_BYTES

DECIDING = frozenset({"agent", "gateway", "operator"})
OPERATING = frozenset({"operator"})
READING = frozenset({"operator", "auditor"})
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


class Call(NamedTuple):
    """One authenticated request.

    Attributes:
        path: what the route's ``{…}`` segments matched, in order.
        body: the JSON object that was sent; empty for GET and DELETE.
        query: the query string's parameters, each its last value.
        deadline_us: wall clock after which the caller no longer waits.
    """

    caller: Caller
    path: tuple[str, ...]
    body: dict[str, Any]
    query: Mapping[str, str] = _NOTHING
    deadline_us: int = 0


class Reply(NamedTuple):
    """An answer: a JSON body, already encoded."""

    body: bytes
    status: int = 200
    content_type: bytes = b"application/json"


Door = Callable[[Call], Awaitable[Reply]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One method on one path. `roles` must name who may use it: a route without roles cannot be made."""

    method: str
    path: str
    roles: frozenset[str]
    door: Door
    limit_bytes: int = LIMIT_BYTES


class Router:
    """Finds routes; exact paths by one dictionary lookup, those with ``{…}`` segments by their shape."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)
        self._exact: dict[str, dict[str, Route]] = {}
        self._shaped: list[tuple[list[str], dict[str, Route]]] = []
        shapes: dict[str, dict[str, Route]] = {}
        for route in self.routes:
            assert route.roles, route
            if "{" not in route.path:
                self._exact.setdefault(route.path, {})[route.method] = route
            else:
                shapes.setdefault(route.path, {})[route.method] = route
        self._shaped = [(path.split("/"), methods) for path, methods in shapes.items()]

    def find(self, method: str, path: str) -> tuple[Route, tuple[str, ...]]:
        """The route, and what its ``{…}`` segments matched. Raises: NotFoundError (also for a wrong method)."""
        answers: set[str] = set()
        exact = self._exact.get(path)
        candidates = [(exact, ())] if exact is not None else self._by_shape(path)
        for methods, matched in candidates:
            if method in methods:
                return methods[method], matched
            answers |= methods.keys()
        known = ", ".join(sorted(answers)) or "nothing"
        raise NotFoundError(
            f"`{path[:200]}` does not answer {method[:16]}; it answers {known}", code="no_route"
        )

    def _by_shape(self, path: str) -> list[tuple[dict[str, Route], tuple[str, ...]]]:
        """Every shape that fits, those with a fixed tail first. An id may contain slashes, so it takes the rest."""
        parts = path.split("/")
        fitting: list[tuple[dict[str, Route], tuple[str, ...]]] = []
        for shape, methods in self._shaped:
            if shape[-1].startswith("{"):
                head, rest = shape[:-1], parts[len(shape) - 1 :]
                fits = parts[: len(head)] == head
            else:
                head, rest = shape[:-2], parts[len(shape) - 2 : -1]
                fits = parts[: len(head)] == head and parts[-1] == shape[-1]
            if fits and rest and all(rest):
                fitting.append((methods, ("/".join(rest),)))
        return sorted(fitting, key=lambda found: len(found[1][0]))
