"""OpenID AuthZEN Authorization API 1.0: the one name under which the doors use its requests and answers."""

from controlplane.wire.authzen_answer import answer, batch_answer, error_answer, metadata, rfc3339
from controlplane.wire.authzen_request import (
    ID_PATTERN,
    MAX_ITEMS,
    BatchRequest,
    EvaluationRequest,
    ItemError,
    Semantic,
    parse_evaluation,
    parse_evaluations,
)

__all__ = [
    "ID_PATTERN",
    "MAX_ITEMS",
    "BatchRequest",
    "EvaluationRequest",
    "ItemError",
    "Semantic",
    "answer",
    "batch_answer",
    "error_answer",
    "metadata",
    "parse_evaluation",
    "parse_evaluations",
    "rfc3339",
]
