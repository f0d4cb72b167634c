"""A trace file becomes what may be seen, labels apart, and nothing is seen that was not asked for by name."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from unit.benchmarks.trace_samples import Line, Recorder, delegation, line, only_trace, step, traces

from benchmarks.trace_replay.reading import TraceFileError, read_traces
from benchmarks.trace_replay.replaying import replay
from benchmarks.trace_replay.tools import Tools, read_tools
from benchmarks.trace_replay.trace import Call, Delegation, Seen
from policies.compile import compile_sources

HIDDEN_OF_A_TRACE = (
    "source", "suite", "trace_id", "kind", "variant", "attack_succeeded", "utility", "injection_goal",
    "first_injected_step", "label_reason", "expect", "user_task_id", "injection_task_id", "difficulty", "purpose",
    "injection_vectors", "user_scenario", "nl_assertions", "attack_type", "a_field_to_come",
)  # fmt: skip
HIDDEN_OF_A_STEP = (
    "origin", "result_has_injection", "likely_attack_step", "source", "tool_type", "task_id", "parent_task", "nonce",
    "a_field_to_come",
)  # fmt: skip
CANARY = "CANARY"


def _marked(steps: list[Line]) -> Line:
    """A trace in which every hidden field says `CANARY`."""
    marked = [one | dict.fromkeys(HIDDEN_OF_A_STEP, CANARY) for one in steps]
    return line(*marked, **dict.fromkeys(HIDDEN_OF_A_TRACE, CANARY))


@pytest.mark.parametrize(
    "steps",
    [
        [step("garden.read"), step("garden.water")],
        [delegation("user:rosa", "clerk", "root", parent=None), step("garden.read", agent="clerk", time=1.0)],
    ],
    ids=["one agent", "several agents"],
)
def test_no_label_and_no_name_of_a_trace_or_task_reaches_a_backend(tmp_path: Path, steps: list[Line]) -> None:
    marked = _marked(steps)
    for one in marked["steps"]:
        if one.get("type") == "delegation":
            one["args"] |= {"nonce": CANARY, "task": CANARY}
    trace = only_trace(tmp_path, marked)
    recorder = Recorder()
    replay(trace.seen, recorder)
    assert CANARY not in repr(trace.seen)
    assert CANARY not in repr(recorder.told)
    assert recorder.told


def test_what_may_be_seen_has_no_room_for_labels() -> None:
    assert {field.name for field in fields(Seen)} == {"agent", "turns", "steps", "agents", "scope"}
    assert {field.name for field in fields(Call)} == {
        "number", "agent", "tool", "arguments", "result", "turn", "at_s", "envelope",
    }  # fmt: skip
    assert {field.name for field in fields(Delegation)} == {
        "number", "by", "to", "tools", "depth", "expires_in_s", "principal", "at_s", "envelope", "again",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("prompt", "turns"), [("one", ("one",)), (["one", "two"], ("one", "two")), (None, ()), ("", ()), ([], ())]
)
def test_a_prompt_is_a_turn_a_list_of_turns_or_nothing(
    tmp_path: Path, prompt: Any, turns: tuple[str, ...]
) -> None:
    assert only_trace(tmp_path, line(step("a"), prompt=prompt)).seen.turns == turns


@pytest.mark.parametrize(
    ("given", "value", "complete"),
    [
        ({"result_excerpt": "all", "result_chars": 3}, "all", True),
        ({"result_excerpt": "al", "result_chars": 30}, "al", False),
        ({"result_excerpt": "a\n...[cut 9 chars]...\nz", "result_chars": 12}, "a\n...[cut 9 chars]...\nz", False),
        ({"result_excerpt": "a ...[cut 1 chars]...", "result_chars": 3}, "a ...[cut 1 chars]...", False),
        ({"result_excerpt": '{"n": 1}', "result_chars": 8}, {"n": 1}, True),
        ({"result_excerpt": '[{"n": 0.30000000000000004}]', "result_chars": 28}, [{"n": "0.30000000000000004"}], True),
        ({"result_excerpt": '{"n": 9007199254740993}'}, {"n": "9007199254740993"}, True),
        ({"result_excerpt": '{"n": 1', "result_chars": 90}, '{"n": 1', False),
        ({"result_excerpt": "7"}, "7", True),
        ({"result_excerpt": None, "result_chars": None}, None, False),
    ],
)  # fmt: skip
def test_a_result_is_read_as_what_it_is_and_known_to_be_cut(
    tmp_path: Path, given: Line, value: Any, complete: bool
) -> None:
    (call,) = only_trace(tmp_path, line(step("a") | {"result_chars": None} | given)).seen.steps
    assert isinstance(call, Call)
    assert (call.result.value, call.result.complete, call.result.failed) == (value, complete, False)


def test_a_file_that_does_not_say_how_long_results_were_has_cut_those_that_are_all_as_long_as_the_longest(
    tmp_path: Path,
) -> None:
    texts = ["x" * 50, "y" * 50, "z" * 50, "short"]
    found = traces(tmp_path, *(line(step("a", result_excerpt=text, result_chars=None)) for text in texts))
    assert [trace.seen.cut for trace in found] == [True, True, True, False]
    twice = traces(tmp_path, *(line(step("a", result_excerpt="x" * 50, result_chars=None)) for _ in range(3)))
    assert [trace.seen.cut for trace in twice] == [False] * 3


@pytest.mark.parametrize("error", [True, "ValueError: no such plant"])
def test_a_call_that_failed_is_reported_as_failed(tmp_path: Path, error: Any) -> None:
    (call,) = only_trace(tmp_path, line(step("a", error=error))).seen.steps
    assert isinstance(call, Call) and call.result.failed


def test_arguments_that_the_service_would_refuse_for_their_digits_are_sent_as_text(tmp_path: Path) -> None:
    args = {"exact": 12.5, "long": 113.56230000000001, "deep": [{"big": 2**60}], "whole": 7, "none": None}
    (call, bare) = only_trace(tmp_path, line(step("a", args=args), step("b", args=None))).seen.steps
    assert isinstance(call, Call) and isinstance(bare, Call)
    deep = [{"big": str(2**60)}]
    assert call.arguments == {
        "exact": 12.5, "long": "113.56230000000001", "deep": deep, "whole": 7, "none": None,
    }  # fmt: skip
    assert bare.arguments == {}


def test_what_the_customer_did_is_skipped(tmp_path: Path) -> None:
    schemas = {"agent": [{"name": "look"}, {"name": "both"}], "user": [{"name": "reboot"}, {"name": "both"}]}
    (file := tmp_path / "tools.json").write_text(json.dumps(schemas))
    steps = [step("look"), step("reboot"), step("both"), step("look", agent="customer")]
    trace = only_trace(tmp_path, line(*steps), tools=read_tools(file))
    assert [one.number for one in trace.seen.steps] == [0, 2]
    assert trace.labels.skipped == (1, 3)


@pytest.mark.parametrize(
    ("marks", "trace_marks", "found"),
    [
        ([{}, {"origin": "injection"}], {"attack_steps": [0]}, {0}),
        ([{"origin": "user"}, {"origin": "injection", "likely_attack_step": False}], {}, {1}),
        ([{"likely_attack_step": False}, {"likely_attack_step": True}], {"first_injected_step": 0}, {1}),
        ([{"source": "user"}, {"source": "document"}], {}, {1}),
        ([{}, {}], {}, None),
    ],
)
def test_the_steps_of_an_attack_are_those_that_the_file_marks(
    tmp_path: Path, marks: list[Line], trace_marks: Line, found: set[int] | None
) -> None:
    trace = only_trace(tmp_path, line(*(step("a", **one) for one in marks), kind="attack", **trace_marks))
    assert trace.labels.attack_steps == found


def test_steps_of_several_agents_refer_to_the_delegation_that_they_act_under(tmp_path: Path) -> None:
    grant = {"allowed_actions": ["garden.read"], "max_delegation_depth": 1}
    trace = only_trace(
        tmp_path,
        line(
            delegation("user:rosa", "clerk", "root", parent=None, expires_at=90),
            step("a", agent="clerk", nonce="n-root", time=0.0),
            delegation("clerk", "digger", "dig", parent="root", depth=1, expires_at=90, time=30.0),
            delegation("clerk", "digger", "dig", parent="root", depth=2, time=30.0),
            step("a", agent="digger", nonce="n-dig", time=31.5),
            step("a", agent="digger", nonce="forged", time=31.5),
            step("a", agent="digger", nonce="", time=31.5),
            grant=grant,
            agents={"clerk": ["garden.read"], "digger": []},
        ),
    )
    root, first, second, again, child, forged, bare = trace.seen.steps
    assert root == Delegation(
        number=0, by="user:rosa", to="clerk", tools=("garden.read",), depth=1, expires_in_s=90.0,
        principal="user:rosa", at_s=0.0,
    )  # fmt: skip
    assert isinstance(second, Delegation) and isinstance(again, Delegation)
    assert (second.by, second.depth, second.expires_in_s, second.envelope) == ("agent:clerk", 0, 60.0, 0)
    assert (again.number, again.again, again.depth) == (3, 2, 0)
    envelopes = [one.envelope for one in (first, child, forged, bare) if isinstance(one, Call)]
    assert envelopes == [0, 2, None, None]
    assert trace.seen.timed and trace.seen.several


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", ":1: not JSON"),
        ("[]", ":1: a trace has"),
        ('{"kind": "benign", "steps": 7}', ":1: a trace has"),
        ('\n{"kind": "benign", "agent": "a", "steps": [{}]}', ":2: not as expected"),
    ],
)
def test_a_line_that_is_no_trace_is_named(tmp_path: Path, text: str, said: str) -> None:
    (file := tmp_path / "traces.jsonl").write_text(text)
    with pytest.raises(TraceFileError, match=said):
        read_traces(file, Tools())


@pytest.mark.parametrize(
    "schemas",
    [
        [{"name": "Water", "parameters": {"properties": {"liters": {}}}}, {"name": "Mow"}],
        {"garden": [{"name": "Water", "parameters": {"properties": {"liters": {}}}}, {"name": "Mow"}]},
        [{"toolkit": "Garden", "tools": [{"name": "Water", "parameters": [{"name": "liters"}]}, {"name": "Mow"}]}],
        {"agent": [{"name": "Water", "inputSchema": {"properties": {"liters": {}}}}, {"name": "Mow"}], "user": []},
    ],
    ids=["a list", "by kit", "kits in a list", "by whose they are"],
)  # fmt: skip
def test_what_schemas_list_and_a_catalog_does_not_is_named(tmp_path: Path, schemas: Any) -> None:
    (file := tmp_path / "tools.json").write_text(json.dumps(schemas))
    tools = read_tools(file)

    def gaps(entries: str) -> list[str]:
        return list(tools.gaps(compile_sources([("c.yaml", f"kind: Catalog\ntools: {entries}")]).catalog))

    assert gaps("{Water: {args: {liters: {}}}, Mow: {}}") == []
    assert gaps("{Garden.Water: {args: {}}, Mow: {}}") == [
        "`Garden.Water` takes `liters`, which the catalog does not list"
    ]
    assert gaps("{Water: {}}") == ["the catalog has no `Mow`"]
