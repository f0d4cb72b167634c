"""What happens to a workflow's origins, one step at a time, as it is written down to be told again after a restart."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from policies.origin.arguments import Spoken
from policies.origin.facts import Fact
from policies.origin.known import Origins
from policies.origin.results import Told

_LAYOUT: Final = struct.Struct("<BBBqIII")
_TASK, _SPOKE, _RESULT = 1, 2, 3
_MORE, _COMPLETE, _WITNESSED, _AWAITED = 1, 2, 4, 8
_FACTS: Final = tuple(Fact)


class Happened(NamedTuple):
    """One step. Made by `asked_for`, `acted` and `returned`."""

    kind: int
    flags: int
    fact: int
    source: int
    parts: tuple[bytes, bytes, bytes]

    def tell(self, origins: Origins) -> None:
        """Let it have happened."""
        first, second, third = self.parts
        more, complete = bool(self.flags & _MORE), bool(self.flags & _COMPLETE)
        match self.kind:
            case 1:
                origins.task(Told(first, second, third, more=more, complete=complete))
            case 2:
                origins.spoke(Spoken(first, more))
                if self.flags & _AWAITED:
                    origins.await_result(self.source)
            case _:
                told = Told(first, second, third, more=more, complete=complete)
                witnessed = bool(self.flags & _WITNESSED)
                origins.result(told, source=self.source, looked_up=_FACTS[self.fact], witnessed=witnessed)

    def to_bytes(self) -> bytes:
        """Cost: a copy."""
        sizes = map(len, self.parts)
        return _LAYOUT.pack(self.kind, self.flags, self.fact, self.source, *sizes) + b"".join(self.parts)

    @classmethod
    def from_bytes(cls, raw: bytes) -> Happened:
        """Raises: ValueError: not what `to_bytes` gives."""
        try:
            kind, flags, fact, source, *sizes = _LAYOUT.unpack_from(raw)
        except struct.error as error:
            raise ValueError(f"not a step: {error}") from None
        if (
            _LAYOUT.size + sum(sizes) != len(raw)
            or kind not in (_TASK, _SPOKE, _RESULT)
            or fact >= len(_FACTS)
        ):
            raise ValueError("not a step")
        parts, start = [], _LAYOUT.size
        for size in sizes:
            parts.append(raw[start : start + size])
            start += size
        return cls(kind, flags, fact, source, (parts[0], parts[1], parts[2]))


def asked_for(told: Told) -> Happened:
    """The user asked for something."""
    flags = _MORE * told.more | _COMPLETE
    return Happened(_TASK, flags, 0, 0, (told.trusted, told.strangers, told.typed))


def acted(said: Spoken, *, source: int, awaited: bool) -> Happened:
    """An action was permitted. Args: awaited: whether strangers may speak in what it returns."""
    return Happened(_SPOKE, _MORE * said.more | _AWAITED * awaited, 0, source, (said.digests, b"", b""))


def returned(told: Told, *, source: int, looked_up: Fact, witnessed: bool) -> Happened:
    """What an action returned is told; see `Origins.result`."""
    flags = _MORE * told.more | _COMPLETE * told.complete | _WITNESSED * witnessed
    parts = (told.trusted, told.strangers, told.typed)
    return Happened(_RESULT, flags, _FACTS.index(looked_up), source, parts)
