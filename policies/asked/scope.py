"""What a session is for, as the `workflows` key that opened it declares; what lies outside was not asked for.

A key that is left out does not limit, an empty list lets nothing through. Two scopes joined by `narrow` let through
exactly what both do; nothing but a turn's own scope, given by a `workflows` key, widens one (`widen`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Any, TypeAlias

from pydantic import AfterValidator, Field, StringConstraints, ValidationError

from controlplane.errors import InputError
from policies.action import Json
from policies.catalog import EFFECTS
from policies.document_types import EffectName, Pattern, Strict
from policies.glob_sets import glob_set
from policies.globs import MAX_WILDCARDS, is_glob, wildcards

MAX_ENTRIES = 64
MAX_COUNT = 1_000_000
MAX_CONDITIONS = 32  # scopes joined by delegation, each a condition of its own
MAX_NAMES = 1_024  # in one condition, however many turns have widened it


def _few_wildcards(pattern: str) -> str:
    if wildcards(pattern) > MAX_WILDCARDS:
        raise ValueError(f"`{pattern}` has more than {MAX_WILDCARDS} wildcards")
    return pattern


_Tool: TypeAlias = Annotated[Pattern, AfterValidator(_few_wildcards)]
_Object: TypeAlias = Annotated[
    str, StringConstraints(min_length=1, max_length=256), AfterValidator(_few_wildcards)
]


class ScopeDocument(Strict):
    """A scope as it is written; lists hold at most 64 entries of at most 256 characters."""

    effects: Annotated[list[EffectName], Field(max_length=MAX_ENTRIES)] | None = Field(
        default=None, description="effects that the task needs, `read` among them where it reads"
    )
    tools: Annotated[list[_Tool], Field(max_length=MAX_ENTRIES)] | None = Field(
        default=None, description="names and globs of tools"
    )
    objects: Annotated[list[_Object], Field(max_length=MAX_ENTRIES)] | None = Field(
        default=None, description="values and globs of values that destinations and targets may have"
    )
    counts: (
        Annotated[
            dict[_Tool, Annotated[int, Field(ge=0, le=MAX_COUNT)]],
            Field(max_length=MAX_ENTRIES),
        ]
        | None
    ) = Field(default=None, description="most permitted actions, by effect or by tool (name or glob)")


AnyOf: TypeAlias = frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What may be done for the task; lets an action through when all of it does.

    Args:
        effects: None = not limited.
        tools, objects: conditions that must all hold, each met by any of its names and globs; () = not limited.
        counts: most permitted actions by effect or by tool (name or glob).
    """

    effects: frozenset[str] | None = None
    tools: tuple[AnyOf, ...] = ()
    objects: tuple[AnyOf, ...] = ()
    counts: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    def plain(self) -> dict[str, Json]:
        """JSON that `restore` reads back; what marshal and the wire can carry."""
        return {
            "effects": None if self.effects is None else [*sorted(self.effects)],
            "tools": [[*sorted(group)] for group in self.tools],
            "objects": [[*sorted(group)] for group in self.objects],
            "counts": dict(sorted(self.counts.items())),
        }


def read_scope(value: object) -> Scope:
    """A scope from what a caller sent.

    Args:
        value: JSON as the door read it, with any of `effects`, `tools`, `objects`, `counts`.
    Raises: InputError: `invalid_scope`, with the first thing that is wrong and where it stands.
    """
    try:
        return scope_of(ScopeDocument.model_validate(value))
    except ValidationError as refused:
        detail = refused.errors(include_url=False)[0]
        where = ".".join(map(str, ("scope", *detail["loc"])))
        message = detail["msg"].removeprefix("Value error, ")
        if detail["type"] == "extra_forbidden":
            message = "unknown key; known keys: " + ", ".join(ScopeDocument.model_fields)
        raise InputError(f"`{where}`: {message[:1].lower()}{message[1:]}", code="invalid_scope") from None


def scope_of(document: ScopeDocument) -> Scope:
    """The scope that a valid document writes down."""
    return Scope(
        effects=None if document.effects is None else frozenset(document.effects),
        tools=_conditions(document.tools),
        objects=_conditions(document.objects),
        counts=MappingProxyType(dict(document.counts or {})),
    )


def restore(plain: Mapping[str, Any]) -> Scope:
    """The scope that `Scope.plain` wrote down; what it holds was checked when it was read first."""
    effects = plain["effects"]
    return Scope(
        effects=None if effects is None else frozenset(effects),
        tools=tuple(frozenset(group) for group in plain["tools"]),
        objects=tuple(frozenset(group) for group in plain["objects"]),
        counts=MappingProxyType(dict(plain["counts"])),
    )


def narrow(parent: Scope | None, child: Scope | None) -> Scope | None:
    """What both let through: the scope of a delegated session.

    Args:
        parent: the scope the parent has now; None = none declared.
        child: what was declared for the child; None = what the parent has.
    Returns: None when neither declares anything: the estimate answers.
    Raises: InputError: `invalid_scope`: more than 32 different conditions came together.
    """
    if parent is None or child is None:
        return child if parent is None else parent
    if parent.effects is None or child.effects is None:
        effects = child.effects if parent.effects is None else parent.effects
    else:
        effects = parent.effects & child.effects
    counts = dict(parent.counts)
    for key, most in child.counts.items():
        counts[key] = min(most, counts.get(key, most))
    return Scope(
        effects=effects,
        tools=_joined(parent.tools, child.tools),
        objects=_joined(parent.objects, child.objects),
        counts=MappingProxyType(counts),
    )


def widen(own: Scope | None, turn: Scope | None, *, within: Scope | None = None) -> Scope | None:
    """The scope of a session after a user's turn was added.

    Widens by what the turn's own scope names and by nothing else: a turn without one leaves all as it is, and so does a
    key that the turn leaves out. A turn never narrows: what was not limited stays so. Its counts come on top of those
    there are, and limit what the turn adds: an effect, or a tool by its name, that lay outside before. Where nothing
    was declared before, the turn's scope answers from then on, not the estimate.

    Args:
        own: the session's scope so far.
        turn: what the `workflows` key declared with the turn, as `read_scope` read it.
        within: the scope of the parent session, where there is one; a turn never leads out of it.
    Raises: InputError: `invalid_scope`: turns have named more than 1 024 tools or objects.
    """
    if turn is None or own is None:
        return narrow(within, turn if own is None else own)
    effects = own.effects
    if effects is not None:
        effects |= turn.effects or frozenset()
    counts = {key: most + turn.counts.get(key, 0) for key, most in own.counts.items()}
    counts |= {key: most for key, most in turn.counts.items() if key not in counts and _outside(own, key)}
    return narrow(
        within,
        Scope(
            effects=effects,
            tools=_widened(own.tools, turn.tools),
            objects=_widened(own.objects, turn.objects),
            counts=MappingProxyType(counts),
        ),
    )


def is_effect(key: str) -> bool:
    """Whether a key of `counts` names an effect; every other one is a tool's name or glob."""
    return key in EFFECTS


def _outside(scope: Scope, key: str) -> bool:
    """Whether nothing of what a key of `counts` names lies within a scope, so that to count it takes nothing away."""
    if is_effect(key):
        return scope.effects is not None and key not in scope.effects
    return not is_glob(key) and any(not glob_set(tuple(sorted(names))).matches(key) for names in scope.tools)


def _conditions(names: Iterable[str] | None) -> tuple[AnyOf, ...]:
    return () if names is None else (frozenset(names),)


def _joined(one: tuple[AnyOf, ...], other: tuple[AnyOf, ...]) -> tuple[AnyOf, ...]:
    # In one order, so that equal scopes are equal values however they came together. What a narrower one implies is
    # left out, so that many turns of a child do not add up.
    all_of = {*one, *other}
    joined = tuple(sorted((each for each in all_of if not any(less < each for less in all_of)), key=sorted))
    if len(joined) > MAX_CONDITIONS:
        message = f"{len(joined)} different scopes joined by delegation; at most {MAX_CONDITIONS}"
        raise InputError(message, code="invalid_scope")
    most = max(map(len, joined), default=0)
    if most > MAX_NAMES:
        message = f"the turns of this session name {most} tools or objects together; at most {MAX_NAMES}"
        raise InputError(message, code="invalid_scope")
    return joined


def _widened(own: tuple[AnyOf, ...], turn: tuple[AnyOf, ...]) -> tuple[AnyOf, ...]:
    """(A and B) or (C and D) is (A or C) and (A or D) and (B or C) and (B or D)."""
    if not own or not turn:
        return own
    return _joined(tuple(mine | theirs for mine in own for theirs in turn), ())
