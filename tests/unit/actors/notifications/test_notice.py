"""What leaves the fleet is bounded, clean, and holds no argument."""

from __future__ import annotations

import json

import pytest
from unit.actors.notifications.samples import hook, notice, outbox_entry

from actors.notifications.notice import Entry, Notice, NoticeError, clean, read


def test_no_raw_argument_is_read() -> None:
    told = json.dumps(notice().to_json())
    assert "string(22)" in told
    assert "DE89370400440532013000" not in told and "12000" not in told and "5000" not in told


def test_a_notice_survives_the_way_through_json() -> None:
    one = notice()
    assert Notice.from_json(json.loads(json.dumps(one.to_json()))) == one


def test_a_notice_of_another_version_is_read_as_far_as_it_goes() -> None:
    kept = notice().to_json()
    kept["colour"] = kept["task"]["colour"] = kept["task"]["rules"][0]["colour"] = "green"
    del kept["comment"], kept["task"]["workflow"], kept["task"]["rules"][0]["then_to"]
    read_again = Notice.from_json(json.loads(json.dumps(kept)))
    assert (read_again.comment, read_again.task.workflow, read_again.task.rules[0].then_to) == ("", "", ())
    assert read_again.task.rules[0].by == ("role:treasury",)


def test_the_same_entry_has_the_same_id_and_another_journal_s_has_another() -> None:
    assert notice().id == notice().id
    assert notice(seq=2).id != notice().id
    assert notice(state="approved").id != notice().id


def test_whoever_may_act_later_is_concerned_as_well() -> None:
    assert notice().concerns == ("role:treasury", "user:cfo")


def test_nobody_is_left_out_because_many_are_concerned() -> None:
    many = [f"user:u{one}" for one in range(100)]
    rules = [{"rule": f"r{one}", "by": ["role:r"]} for one in range(10)]
    told = notice(rules=[*rules, {"rule": "last", "by": many, "then_to": ["user:late"]}])
    assert {*many, "user:late"} < set(told.concerns)
    assert hook(approvers=frozenset({"user:u99"})).wants(told)


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("one\ntwo\tthree", "one two three"),
        ("a\x1b[31mred", "a\N{REPLACEMENT CHARACTER}[31mred"),
        ("pay \u202eevil\u2069", "pay \N{REPLACEMENT CHARACTER}evil\N{REPLACEMENT CHARACTER}"),
        ("zero\u200bwidth", "zero\N{REPLACEMENT CHARACTER}width"),
        ("Zürich 東京", "Zürich 東京"),
    ],
)
def test_a_text_steers_neither_a_terminal_nor_the_eye(text: str, seen: str) -> None:
    assert clean(text) == seen


def test_every_text_and_every_list_is_bounded() -> None:
    long = notice(
        agent="a" * 10_000,
        justification="j" * 10_000,
        masked_arguments={"x": "y" * 10_000},
        rules=[{"rule": "r" * 9_000, "by": [f"user:{n}" for n in range(500)], "quorum": 1}] * 50,
    )
    assert len(json.dumps(long.to_json())) < 70_000
    assert long.task.agent.endswith("…") and len(long.task.agent) == 256
    assert len(long.task.rules) == 10 and len(long.task.rules[0].by) == 20


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"event": "x"}',
        b'{"event": "x", "task": []}',
        b'{"event": "x", "task": {"rules": [{"rule": "r", "quorum": 1e999}]}}',
        b'{"event": "x", "task": {"rules": [{"by": 7}]}}',
        b'{"event": "x", "task": ' + b"[" * 100_000,
        b"\xff",
    ],
)
def test_what_is_no_notice_is_refused_without_repeating_it(body: bytes) -> None:
    with pytest.raises(NoticeError, match="entry 7 of the outbox of `host-000`"):
        read(Entry(owner="host-000", seq=7, body=body))


def test_a_task_of_a_later_owner_with_less_in_it_is_told_as_far_as_it_goes() -> None:
    body = json.loads(outbox_entry())
    body["task"] = {"id": "apr_2"}
    told = read(Entry(owner="host-000", seq=1, body=json.dumps(body).encode()))
    assert told.task.id == "apr_2" and told.task.rules == ()
