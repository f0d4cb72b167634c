"""What an answer says of the arguments: those that were asked, or what rules made of them.

No owner knows the arguments, and none is journalled; the operations are kept with a decision. So the obligation is made
here, for a first answer and for a repeated one alike, and it must come to what was decided.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import orjson

from actors.messages import Decided, DecisionRequest
from actors.modifying import asked_digest
from controlplane.wire.authzen import EvaluationRequest
from controlplane.wire.digest import arguments_digest
from policies.action import Json
from policies.effect import Effect
from policies.modification.apply import Refused, apply
from policies.modification.operations import read

UNREPEATABLE: Final = "rewrite_unrepeatable"


class Said(NamedTuple):
    """Args: digest: of what may be executed; modified: that, where it is not what was asked."""

    digest: bytes
    modified: Mapping[str, Json] | None = None


def said_of(decided: Decided, request: DecisionRequest, asked: EvaluationRequest) -> Said | None:
    """What is said of the arguments; None = what was decided cannot be made of them (any more).

    Cost: nothing where nothing was rewritten, else the operations and a digest.
    """
    if not decided.operations:
        return Said(asked_digest(request))
    made = apply(asked.arguments, read(orjson.loads(decided.operations)))
    if isinstance(made, Refused):
        return None
    digest = arguments_digest(made.arguments)
    if digest.hex() != decided.rewritten_digest:
        return None
    return Said(digest, made.arguments if decided.effect == Effect.MODIFY else None)


def as_decided(decided: Decided, arguments: Mapping[str, Json]) -> Mapping[str, Json]:
    """What rules made of the arguments of a decision, where these are the ones that were asked; else as they are."""
    if not decided.operations:
        return arguments
    made = apply(arguments, read(orjson.loads(decided.operations)))
    if isinstance(made, Refused) or arguments_digest(made.arguments).hex() != decided.rewritten_digest:
        return arguments
    return made.arguments
