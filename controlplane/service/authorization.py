"""What the holder of a good key may do."""

from __future__ import annotations

from actors.api_keys import Caller
from controlplane.errors import ForbiddenError
from controlplane.service.routing import DECIDING, Route


def refuse_role(route: Route, caller: Caller) -> None:
    """Raises: ForbiddenError: the caller's role may not use this route."""
    if caller.role not in route.roles:
        raise ForbiddenError(
            f"a key with the role `{caller.role}` may not {route.method} `{route.path}`; "
            f"it takes {' or '.join(f'`{role}`' for role in sorted(route.roles))}",
            code="role_not_permitted",
        )


def refuse_foreign(caller: Caller, subject_type: str, subject_id: str) -> None:
    """Raises: ForbiddenError: this key may not speak for this subject."""
    if caller.role not in DECIDING or not caller.may_speak_for(subject_type, subject_id):
        raise ForbiddenError(
            f"key `{caller.key_id}` ({caller.role}) may not speak for {subject_type} `{subject_id[:256]}`",
            code="foreign_subject",
        )
