"""A document together with the places its parts were written at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from policies.error import PolicyError, Source
from policies.yaml_tree import Node

D_co = TypeVar("D_co", covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Located(Generic[D_co]):
    """A document, the source it stands in and the tree it was read from."""

    document: D_co
    source: Source
    root: Node

    def error(
        self,
        path: Sequence[str | int],
        code: str,
        message: str,
        hint: str = "",
        *,
        at_key: bool = False,
        offset: tuple[int, int] = (0, 0),
    ) -> PolicyError:
        """A finding at the value (or its key) under `path`, or at the nearest place that exists.

        Args:
            offset: lines and columns further on, for a finding inside a text.
        """
        node = self.root.find(path)
        line, column = node.key if at_key else (node.line, node.column)
        source = self.source if at_key or node.put_from is None else node.put_from
        return PolicyError(
            file=source.name,
            line=line + offset[0],
            column=offset[1] + (column if offset[0] == 0 else 1),
            code=code,
            message=message,
            hint=hint,
        )
