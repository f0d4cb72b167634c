"""AuthZEN requests are read and answers written exactly as the standard says, ours inside `context`."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from controlplane.errors import InputError, TooLargeError
from controlplane.wire.authzen import (
    BatchRequest,
    EvaluationRequest,
    ItemError,
    Semantic,
    parse_evaluation,
    parse_evaluations,
)

REQUEST: dict[str, Any] = {
    "subject": {"type": "agent", "id": "treasury-bot"},
    "action": {"name": "call"},
    "resource": {"type": "tool", "id": "payments.transfer", "properties": {"boundary": "internal"}},
    "context": {
        "session": "ses_1",
        "arguments": {"amount": 12000},
        "idempotency_key": "k-1",
        "trace_id": "4BF92F3577B34DA6A3CE929D0E0E4736",
        "span_id": "00f067aa0ba902b7",
        "tool_call_id": "call_7",
        "channel": "mail",
    },
}
VECTORS = Path(__file__).parents[4] / "shared" / "vectors" / "authzen"


def changed(path: str, value: object) -> dict[str, Any]:
    """REQUEST with the value at `path` replaced; `...` removes it."""
    request = copy.deepcopy(REQUEST)
    *parents, last = path.split(".")
    parent = request
    for key in parents:
        parent = parent[key]
    if value is ...:
        del parent[last]
    else:
        parent[last] = value
    return request


def test_a_request_is_read_with_our_keys_taken_out_of_its_context() -> None:
    assert parse_evaluation(REQUEST) == EvaluationRequest(
        subject_type="agent",
        subject_id="treasury-bot",
        action="call",
        resource_type="tool",
        resource_id="payments.transfer",
        resource_properties={"boundary": "internal"},
        arguments={"amount": 12000},
        context={"channel": "mail"},
        session="ses_1",
        idempotency_key="k-1",
        trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
        span_id="00f067aa0ba902b7",
        tool_call_id="call_7",
    )


def test_a_plain_authzen_request_needs_nothing_of_ours_and_may_say_more() -> None:
    request = {
        "subject": {"type": "user", "id": "rick@the-citadel.com", "properties": {"role": "x"}, "alias": 1},
        "action": {"name": "can_read_todos", "properties": {}},
        "resource": {"type": "todo", "id": "1"},
        "future": [],
    }
    assert parse_evaluation(request) == EvaluationRequest(
        subject_type="user",
        subject_id="rick@the-citadel.com",
        action="can_read_todos",
        resource_type="todo",
        resource_id="1",
    )


@pytest.mark.parametrize(
    "key", ["session", "idempotency_key", "dry_run", "trace_id", "span_id", "tool_call_id"]
)
def test_null_counts_as_absent_for_our_optional_keys(key: str) -> None:
    assert not getattr(parse_evaluation(changed(f"context.{key}", None)), key)


REFUSED = [
    ("subject", ..., "`subject` is missing"),
    ("subject", "treasury-bot", "`subject` must be an object, not a string"),
    ("subject.id", ..., "`subject.id` is missing"),
    ("subject.id", 7, "`subject.id` must be a string, not a number"),
    ("subject.id", None, "`subject.id` must be a string, not null"),
    ("subject.id", "", "`subject.id` `` is no acceptable id"),
    ("subject.id", "a\nb", r"`subject.id` `a\nb` is no acceptable id"),
    ("subject.id", "tréso", r"`subject.id` `tr\xe9so` is no acceptable id"),
    ("subject.id", "-bot", "no acceptable id"),
    ("subject.id", "a" * 257, "no acceptable id"),
    ("subject.id", "bot\n", "no acceptable id"),
    ("subject.type", "a/b c", "`subject.type` `a/b c` is no acceptable id"),
    ("subject.properties", [], "`subject.properties` must be an object, not an array"),
    ("action.name", ..., "`action.name` is missing"),
    ("action", None, "`action` must be an object, not null"),
    ("resource.type", False, "`resource.type` must be a string, not a boolean"),
    ("resource.properties", 1, "`resource.properties` must be an object"),
    ("context", [], "`context` must be an object, not an array"),
    ("context.arguments", [1], "`context.arguments` must be an object, not an array"),
    ("context.arguments", None, "`context.arguments` must be an object, not null"),
    ("context.dry_run", "yes", "`context.dry_run` must be a boolean, not a string"),
    ("context.session", "", "`context.session` must be at most 256 printable"),
    ("context.idempotency_key", "k" * 129, "`context.idempotency_key` must be 1 to 128 printable ascii"),
    ("context.idempotency_key", "ключ", "printable ascii"),
    ("context.trace_id", "xyz", "`context.trace_id` must be 32 hexadecimal digits"),
    ("context.trace_id", "0" * 32, "not all zero"),
    ("context.span_id", "ab", "`context.span_id` must be 16 hexadecimal digits"),
    ("context.tool_call_id", 5, "`context.tool_call_id` must be a string, not a number"),
]


@pytest.mark.parametrize(("path", "value", "message"), REFUSED)
def test_a_wrong_part_is_refused_by_name(path: str, value: object, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_evaluation(changed(path, value))
    assert message in str(caught.value)


def batch(request: dict[str, Any]) -> BatchRequest:
    parsed = parse_evaluations(request)
    assert isinstance(parsed, BatchRequest)
    return parsed


@pytest.mark.parametrize("evaluations", [{}, {"evaluations": []}])
def test_without_items_the_batch_door_takes_a_single_evaluation(evaluations: dict[str, Any]) -> None:
    assert parse_evaluations({**REQUEST, **evaluations}) == parse_evaluation(REQUEST)


def test_top_level_objects_are_defaults_and_are_never_merged() -> None:
    items = batch(
        {
            **REQUEST,
            "evaluations": [
                {},
                {"resource": {"type": "tool", "id": "mail.send"}},
                {"context": {"arguments": {"amount": 1}}, "subject": {"type": "agent", "id": "mailer"}},
            ],
        }
    ).items
    first, second, third = items
    assert isinstance(first, EvaluationRequest)
    assert isinstance(second, EvaluationRequest)
    assert isinstance(third, EvaluationRequest)
    assert first.arguments == {"amount": 12000}
    assert (second.resource_id, second.resource_properties) == ("mail.send", {})
    assert (third.subject_id, third.arguments, third.session, third.context) == (
        "mailer",
        {"amount": 1},
        None,
        {},
    )


def test_items_that_inherit_an_idempotency_key_get_one_each() -> None:
    items = batch({**REQUEST, "evaluations": [{}, {}, {"context": {"idempotency_key": "own"}}]}).items
    assert [getattr(item, "idempotency_key", "") for item in items] == ["k-1/0", "k-1/1", "own"]


def test_a_failing_item_is_an_error_of_its_own_while_others_go_on() -> None:
    items = batch({**REQUEST, "evaluations": [{"resource": {"type": "tool"}}, {}, 7]}).items
    assert items[0] == ItemError(
        status=400, code="invalid_request", message="`evaluations[0].resource.id` is missing"
    )
    assert isinstance(items[1], EvaluationRequest)
    assert items[2] == ItemError(
        status=400, code="invalid_request", message="`evaluations[2]` must be an object, not a number"
    )


@pytest.mark.parametrize(
    ("semantic", "stop_on", "count"),
    [("execute_all", None, 3), ("deny_on_first_deny", False, 2), ("permit_on_first_permit", True, 3)],
)
def test_nothing_follows_an_error_under_deny_on_first_deny(
    semantic: str, stop_on: bool | None, count: int
) -> None:
    parsed = batch({**REQUEST, "options": {"evaluations_semantic": semantic}, "evaluations": [{}, 7, {}]})
    assert parsed.semantic is Semantic(semantic)
    assert parsed.semantic.stop_on is stop_on
    assert len(parsed.items) == count


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"evaluations": {}}, "`evaluations` must be an array, not an object"),
        ({"evaluations": [{}], "options": []}, "`options` must be an object, not an array"),
        (
            {"evaluations": [{}], "options": {"evaluations_semantic": "all"}},
            "unknown `options.evaluations_semantic` `all`; known are `execute_all`",
        ),
        ({"evaluations": [{}], "options": {"evaluations_semantic": ["x"]}}, "an array; known are"),
    ],
)
def test_a_batch_that_cannot_be_read_is_refused_as_a_whole(extra: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_evaluations({**REQUEST, **extra})
    assert message in str(caught.value)


def test_a_batch_is_bounded() -> None:
    assert len(batch({**REQUEST, "evaluations": [{}] * 1000}).items) == 1000
    with pytest.raises(TooLargeError, match="1001 items; at most 1000 are accepted"):
        parse_evaluations({**REQUEST, "evaluations": [{}] * 1001})


def test_every_request_of_the_interop_cases_is_read() -> None:
    cases = VECTORS / "todo-decisions.json"
    if not cases.exists():
        pytest.skip(f"the AuthZEN interop cases are not there: {cases.name}")
    document = json.loads(cases.read_text())
    for case in document["evaluation"]:
        assert parse_evaluation(case["request"]).subject_id == case["request"]["subject"]["id"]
    for case in document.get("evaluations", []):
        assert len(batch(case["request"]).items) == len(case["request"]["evaluations"])


def test_what_we_read_is_what_the_standards_schema_accepts() -> None:
    schema = VECTORS / "evaluation-request.schema.json"
    jsonschema = pytest.importorskip("jsonschema")
    if not schema.exists():
        pytest.skip(f"the AuthZEN schema is not there: {schema.name}")
    validator = jsonschema.Draft202012Validator(json.loads(schema.read_text()))
    assert validator.is_valid(REQUEST)
    for path, value, _ in REFUSED:
        if not validator.is_valid(changed(path, value)):
            with pytest.raises(InputError):
                parse_evaluation(changed(path, value))
