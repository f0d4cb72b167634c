"""What the past asks of an action beside its atoms: the keys that tell one thing from another, and amounts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from policies import cel
from policies.action import Action
from policies.bundle import Measure
from policies.canonical_values import canonical, digest
from policies.catalog import ArgumentType
from policies.quantities import ArgumentPath, PathError, amount_at, parse_path, value_at

Measured = tuple[int, bytes | int | None]
"""(number of the measure, a key's digest or an amount; None = missing, failed, or not a number)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reader:
    """How one measure is read: by the path of an argument, or by evaluating an expression."""

    number: int
    bit: int
    amount: bool
    path: ArgumentPath | None
    expression: cel.KeyExpression | None


class Measures:
    """The measures of a bundle, compiled.

    Args:
        value_key: under which keys are digested, so that state holds no values; at most 64 bytes.
    Attributes:
        asked: bit set of the atoms that something is measured of.
        expressions: those that have to be evaluated.
    """

    def __init__(self, measures: Sequence[Measure], *, value_key: bytes) -> None:
        self._value_key = value_key
        self._readers = [_reader(number, measure) for number, measure in enumerate(measures)]
        self.asked = 0
        for reader in self._readers:
            self.asked |= reader.bit
        self.expressions = [one.expression for one in self._readers if one.expression is not None]

    def read(
        self,
        action: Action,
        possibly: int,
        types: Mapping[str, ArgumentType] | None,
        activation: Callable[[], cel.Activation],
    ) -> tuple[Measured, ...]:
        """What is measured of an action whose atoms in `possibly` may hold.

        Args:
            types: of the resource's arguments, as catalogued.
            activation: what expressions read; asked once, where one is evaluated.
        Cost: about 2 µs a key and 1 µs an amount; an expression costs what a condition does.
        """
        found: list[Measured] = []
        facts: cel.Activation = None
        for reader in self._readers:
            if not reader.bit & possibly:
                continue
            if reader.path is not None:
                if reader.amount:
                    found.append((reader.number, amount_at(action.arguments, reader.path)))
                    continue
                known = types.get(reader.path[0]) if types is not None and len(reader.path) == 1 else None
                value = value_at(action.arguments, reader.path)
                found.append((reader.number, self._key(value, known.type if known is not None else "any")))
                continue
            assert reader.expression is not None
            if facts is None:
                facts = activation()
            value = None if facts is None else reader.expression.value(facts)
            found.append((reader.number, self._key(value, "any")))
        return tuple(found)

    def _key(self, value: object, type_: str) -> bytes | None:
        # Whatever is no key of its type is one of the text that it is: canonicalising never refuses.
        found = canonical(value, type_)
        return None if found is None else digest(found, self._value_key)


def _reader(number: int, measure: Measure) -> _Reader:
    bit = 1 << measure.atom
    try:
        path: ArgumentPath | None = parse_path(measure.text)
    except PathError:
        path = None
    expression = cel.KeyExpression(measure.text) if path is None else None
    return _Reader(number=number, bit=bit, amount=measure.kind == "amount", path=path, expression=expression)
