"""What the management doors share: JSON answers, and the refusal to speak for others."""

from __future__ import annotations

from typing import Any

import orjson

from actors.api_keys import Caller
from controlplane.errors import ForbiddenError
from controlplane.service.routing import Reply


def json_reply(value: dict[str, Any], status: int = 200) -> Reply:
    return Reply(body=orjson.dumps(value), status=status)


def refuse_foreign_subject(caller: Caller, subject_type: str, subject_id: str) -> None:
    """Raises: ForbiddenError: the key may not speak for this subject."""
    if not caller.may_speak_for(subject_type, subject_id):
        raise ForbiddenError(
            f"key `{caller.key_id}` ({caller.role}) may not speak for {subject_type} `{subject_id[:256]}`",
            code="foreign_subject",
        )
