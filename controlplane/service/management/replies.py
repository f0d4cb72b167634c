"""Answers of the management doors."""

from __future__ import annotations

from typing import Any

import orjson

from controlplane.service.routing import Reply


def json_reply(value: dict[str, Any], status: int = 200) -> Reply:
    return Reply(body=orjson.dumps(value), status=status)
