"""What one agent lets another do in its name: grants, how they narrow, and what a chain of them covers. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from policies.catalog import TOOL
from policies.glob_sets import glob_set

MAX_DEPTH = 16
"""Levels of delegation below a session that began a workflow."""

OUTSIDE_DELEGATION = "outside_delegation"
DELEGATION_EXPIRED = "delegation_expired"
DELEGATION_TOO_DEEP = "delegation_too_deep"
PARENT_ENDED = "parent_ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a delegation lets its child do.

    Attributes:
        tools: names and globs, of which an action's tool must fit one; None = whatever the parent may.
        expires_us: from then on the child may do nothing.
        depth: how many further levels the child may delegate to.
    """

    tools: tuple[str, ...] | None
    expires_us: int
    depth: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a grant is not given: a stable code, and the same in words."""

    code: str
    message: str


def narrow(chain: Sequence[Grant], asked: Grant, *, now_us: int) -> Grant | Refusal:
    """The grant that a session can give of what it has itself.

    Args:
        chain: the grants that the session acts under, in any order; empty for one that began a workflow.
        asked: what its child is to get; it ends when the first of the chain does, if not before.
    Returns: a grant that permits nothing that the chain does not permit, or why there is none.
    Cost: for each listed tool, linear in its length; see `GlobSet.contains`.
    """
    expires_us = min([asked.expires_us, *(grant.expires_us for grant in chain)])
    if expires_us <= now_us:
        return Refusal(
            code=DELEGATION_EXPIRED,
            message="what this session was itself delegated has expired, or is about to",
        )
    left = min((grant.depth for grant in chain), default=MAX_DEPTH)
    if not 0 <= asked.depth < left:
        return Refusal(
            code=DELEGATION_TOO_DEEP,
            message=f"a depth of {asked.depth} was asked for, and this session has {left} left of which it takes one"
            if left
            else "this session may not delegate: it was delegated itself with a depth of 0",
        )
    for grant in chain:
        if grant.tools is None or asked.tools is None:
            # What is left out narrows nothing: the chain goes on to be looked at, each time.
            continue
        outside = next((tool for tool in asked.tools if not glob_set(grant.tools).contains(tool)), None)
        if outside is not None:
            return Refusal(
                code=OUTSIDE_DELEGATION,
                message=f"`{outside}` is more than this session was itself delegated: {_named(grant.tools)}",
            )
    return Grant(tools=asked.tools, expires_us=expires_us, depth=asked.depth)


def covers(chain: Sequence[Grant], resource_type: str, resource_id: str, *, now_us: int) -> str | None:
    """Why an action is not covered by every grant that its session acts under: a reason code, or None if it is.

    INVARIANT (narrower): every grant of the chain is asked, not only the last, so that no child can do what one of its
    ancestors could not.

    Cost: linear in the length of the name, for each grant that lists tools.
    """
    if any(grant.expires_us <= now_us for grant in chain):
        return DELEGATION_EXPIRED
    for grant in chain:
        if grant.tools is None:
            continue
        if resource_type != TOOL or not glob_set(grant.tools).matches(resource_id):
            return OUTSIDE_DELEGATION
    return None


def _named(tools: tuple[str, ...]) -> str:
    shown = ", ".join(f"`{tool}`" for tool in tools[:5])
    return f"{shown} and {len(tools) - 5} more" if len(tools) > 5 else shown or "no tool"
