"""Scopes: what is written, joined, widened, and what they let through."""

from __future__ import annotations

import json
import marshal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.errors import InputError
from policies.asked.judgement import Answer, Reply, judge
from policies.asked.scope import Scope, narrow, read_scope, restore, widen
from policies.asked.tallies import Tallies
from policies.catalog import EFFECTS, ArgumentType

TRANSFER = {"to": ArgumentType(type="iban", role="destination"), "note": ArgumentType(role="content")}
ORDER = [Reply.YES, Reply.UNKNOWN, Reply.NO]


def ask(scope: Scope | None, **changes: Any) -> Answer:
    action: dict[str, Any] = {
        "effects": ("pay",),
        "tool": "bank.transfer",
        "arguments": {"to": "DE89 3704 0044", "note": "rent"},
        "types": TRANSFER,
    }
    return judge(scope, **{**action, **changes})


@pytest.mark.parametrize(
    ("scope", "reply"),
    [
        ({}, "yes"),
        ({"effects": []}, "no"),
        ({"effects": ["pay"]}, "yes"),
        ({"effects": ["read", "send"]}, "no"),
        ({"tools": []}, "no"),
        ({"tools": ["bank.*"]}, "yes"),
        ({"tools": ["bank.list"]}, "no"),
        ({"objects": []}, "no"),
        ({"objects": ["de8937040044"]}, "yes"),
        ({"objects": ["DE89*"]}, "yes"),
        ({"objects": ["rent"]}, "no"),
        ({"counts": {}}, "yes"),
        ({"counts": {"pay": 0}}, "no"),
        ({"counts": {"bank.**": 1}}, "yes"),
        ({"counts": {"send": 0, "mail.*": 0}}, "yes"),
    ],
)
def test_a_key_left_out_does_not_limit_and_an_empty_one_lets_nothing_through(
    scope: dict[str, Any], reply: str
) -> None:
    answer = ask(read_scope(scope))
    assert answer.reply == reply
    assert not answer.estimated


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"effect": ["pay"]}, "unknown key"),
        ({"effects": ["steal"]}, "scope.effects.0"),
        ({"effects": "pay"}, "scope.effects"),
        ({"tools": [f"t{n}" for n in range(65)]}, "at most 64"),
        ({"tools": ["a*b*c*d*e*f"]}, "more than 4 wildcards"),
        ({"tools": ["with space"]}, "scope.tools.0"),
        ({"objects": ["x" * 257]}, "at most 256"),
        ({"objects": [""]}, "scope.objects.0"),
        ({"counts": {"pay": -1}}, "scope.counts.pay"),
        ({"counts": {"pay": True}}, "scope.counts.pay"),
        ({"counts": {"pay": 1.5}}, "scope.counts.pay"),
        ([], "`scope`"),
        (None, "`scope`"),
    ],
)
def test_a_malformed_scope_is_refused_with_its_place(wrong: object, says: str) -> None:
    with pytest.raises(InputError, match="scope") as refused:
        read_scope(wrong)
    assert says in refused.value.message
    assert refused.value.code == "invalid_scope"


def test_every_element_of_a_list_must_be_among_the_objects() -> None:
    types = {"to": ArgumentType(type="list", role="destination")}
    scope = read_scope({"objects": ["ann@bank.example", "*@office.example"]})
    for to, reply in [
        (["Ann@Bank.example", "bob@OFFICE.example"], "yes"),
        (["ann@bank.example", "eve@evil.example"], "no"),
        ([["ann@bank.example", [{"more": "eve@evil.example"}]]], "no"),
        (["https://evil.example/<ann@bank.example>"], "no"),
        ([], "yes"),
        (None, "yes"),
    ]:
        assert ask(scope, arguments={"to": to}, types=types).reply == reply, to


@pytest.mark.parametrize(
    ("to", "reply"),
    [
        ("ann@bank.example, bob.ray@bank.example", "yes"),
        ("eve@else.example, ann@bank.example", "no"),
        ("eve@else.example;ann@bank.example", "no"),
        ("eve@else.example\nann@bank.example", "no"),
        ("eve@else.example ann@bank.example", "no"),
        ("<eve@else.example>ann@bank.example", "no"),
    ],
)
def test_a_glob_covers_one_value_and_not_a_list_in_one_text(to: str, reply: str) -> None:
    scope = read_scope({"objects": ["**@bank.example"]})
    for type_ in ("any", "string", "email"):
        types = {"to": ArgumentType(type=type_, role="destination")}
        assert ask(scope, arguments={"to": to}, types=types).reply == reply


@pytest.mark.parametrize(
    ("to", "reply"),
    [
        ({"ann@bank.example": {"line1": "ann@bank.example"}}, "yes"),
        ({"eve@else.example": None}, "no"),
        ([{"GB29NWBK60161331926819": "ann@bank.example"}], "no"),
    ],
)
def test_an_address_or_account_is_a_value_also_as_a_key(to: Any, reply: str) -> None:
    scope = read_scope({"objects": ["ann@bank.example"]})
    assert ask(scope, arguments={"to": to}, types=None).reply == reply


def test_an_argument_without_a_role_is_taken_for_a_destination() -> None:
    scope = read_scope({"objects": ["ann"]})
    assert ask(scope, arguments={"x": "eve"}, types={"x": ArgumentType()}).reply == "no"
    assert ask(scope, arguments={"x": "eve"}, types={}).reply == "no"
    assert ask(scope, arguments={"x": "eve"}, types=None).reply == "no"
    assert ask(scope, arguments={"x": "eve"}, types={"x": ArgumentType(role="content")}).reply == "yes"


def test_unknown_effects_are_unknown() -> None:
    answer = ask(read_scope({"effects": list(EFFECTS)}), effects=None)
    assert answer.reply == "unknown"
    assert ask(read_scope({"effects": ["pay"], "tools": []}), effects=None).reply == "no"
    assert ask(read_scope({"tools": ["bank.*"]}), effects=None).reply == "yes"


def test_a_reason_says_what_the_scope_covers_and_names_no_value() -> None:
    answer = ask(read_scope({"effects": ["read"]}))
    assert answer.because == "the scope covers: read; this action pays"
    assert "DE89" not in ask(read_scope({"objects": ["x"]})).because


def test_counts_end_when_so_many_actions_were_permitted() -> None:
    scope = read_scope({"counts": {"pay": 2}})
    tallies = Tallies()
    replies = []
    for _ in range(3):
        replies.append(ask(scope, tallies=tallies).reply)
        tallies = tallies.after(scope, effects=("pay",), tool="bank.transfer")
    assert replies == ["yes", "yes", "no"]
    assert ask(scope, tallies=Tallies({"pay": 2}), effects=None).reply == "unknown"
    back = tallies.after(scope, effects=("pay",), tool="bank.transfer", times=-1)
    assert back.of("pay") == 2
    assert Tallies(marshal.loads(marshal.dumps(back.plain()))) == back


def test_an_unknown_effect_counts_for_every_effect() -> None:
    scope = read_scope({"counts": {"pay": 2, "send": 2, "mail.*": 2}})
    assert Tallies().after(scope, effects=None, tool="x").plain() == {"pay": 1, "send": 1}


def test_a_turn_widens_by_what_its_own_scope_names_and_by_nothing_else() -> None:
    own = read_scope({"effects": ["read"], "tools": ["bank.list"], "counts": {"pay": 1}})
    assert widen(own, None) == own
    wider = widen(own, read_scope({"effects": ["pay"], "counts": {"pay": 2}}))
    assert wider is not None
    assert wider.effects == {"read", "pay"}
    assert wider.tools == own.tools
    assert wider.counts == {"pay": 3}
    assert widen(None, own) == own


@pytest.mark.parametrize(
    ("own", "turn", "counts"),
    [
        ({"effects": ["read"]}, {"effects": ["pay"], "counts": {"pay": 1}}, {"pay": 1}),
        ({"effects": ["read", "pay"]}, {"effects": ["pay"], "counts": {"pay": 1}}, {}),
        ({}, {"effects": ["pay"], "counts": {"pay": 1}}, {}),
        ({"tools": ["bank.list"]}, {"tools": ["bank.transfer"], "counts": {"bank.transfer": 1}}, {"bank.transfer": 1}),
        ({"tools": ["bank.*"]}, {"tools": ["bank.transfer"], "counts": {"bank.transfer": 1}}, {}),
        ({"tools": ["bank.list"]}, {"tools": ["bank.*"], "counts": {"bank.*": 1}}, {}),
    ],
)  # fmt: skip
def test_a_turn_adds_what_it_names_only_as_often_as_it_says(
    own: dict[str, Any], turn: dict[str, Any], counts: dict[str, int]
) -> None:
    wider = widen(read_scope(own), read_scope(turn))
    assert wider is not None and wider.counts == counts
    for key, most in counts.items():
        assert ask(wider, tallies=Tallies({key: most - 1})).reply == "yes"
        assert ask(wider, tallies=Tallies({key: most})).reply == "no"


def test_a_turn_never_leads_a_child_out_of_its_parents_scope() -> None:
    parent = read_scope({"effects": ["read"]})
    child = narrow(parent, read_scope({"effects": ["read", "send"]}))
    turned = widen(child, read_scope({"effects": ["send"]}), within=parent)
    assert turned is not None
    assert turned.effects == {"read"}


def test_too_many_joined_scopes_are_refused() -> None:
    scope: Scope | None = None
    with pytest.raises(InputError, match="at most 32"):
        for n in range(33):
            scope = narrow(scope, read_scope({"tools": [f"t{n}"]}))


TOOLS = st.sampled_from(["a.x", "a.y", "b.x", "a.*", "*.x", "**", "b.*"])
OBJECTS = st.sampled_from(["ann", "bob", "a*", "*b"])
SCOPES = st.fixed_dictionaries(
    {},
    optional={
        "effects": st.lists(st.sampled_from(list(EFFECTS)), max_size=4),
        "tools": st.lists(TOOLS, max_size=3),
        "objects": st.lists(OBJECTS, max_size=3),
        "counts": st.dictionaries(
            st.sampled_from(["pay", "send", "a.*", "a.x"]), st.integers(0, 3), max_size=2
        ),
    },
).map(read_scope)
ACTIONS = st.fixed_dictionaries(
    {
        "effects": st.none() | st.lists(st.sampled_from(list(EFFECTS)), max_size=2, unique=True),
        "tool": st.sampled_from(["a.x", "a.y", "b.x", "c"]),
        "arguments": st.dictionaries(st.just("to"), st.sampled_from(["ann", "bob", ["ann", "bob"], None])),
        "types": st.none() | st.just({"to": ArgumentType(role="target")}),
        "tallies": st.dictionaries(st.sampled_from(["pay", "send", "a.*", "a.x"]), st.integers(0, 3)).map(
            Tallies
        ),
    }
)


@settings(deadline=None)
@given(SCOPES, SCOPES, ACTIONS)
def test_joined_scopes_let_through_exactly_what_both_do(one: Scope, other: Scope, action: Any) -> None:
    joined = narrow(one, other)
    worst = max((judge(one, **action).reply, judge(other, **action).reply), key=ORDER.index)
    assert judge(joined, **action).reply == worst
    assert narrow(other, one) == joined
    assert narrow(joined, one) == joined


@settings(deadline=None)
@given(SCOPES, SCOPES, ACTIONS)
def test_a_turn_never_restricts_what_was_asked_before(own: Scope, turn: Scope, action: Any) -> None:
    before, after = judge(own, **action).reply, judge(widen(own, turn), **action).reply
    assert ORDER.index(after) <= ORDER.index(before)


@settings(deadline=None)
@given(SCOPES, SCOPES, SCOPES, ACTIONS)
def test_whatever_a_turn_says_a_child_stays_within_its_parent(
    parent: Scope, child: Scope, turn: Scope, action: Any
) -> None:
    turned = widen(narrow(parent, child), turn, within=parent)
    assert ORDER.index(judge(turned, **action).reply) >= ORDER.index(judge(parent, **action).reply)


@settings(deadline=None)
@given(SCOPES, ACTIONS)
def test_more_permitted_actions_never_make_an_answer_milder(scope: Scope, action: Any) -> None:
    later = action["tallies"].after(scope, effects=action["effects"], tool=action["tool"])
    after = judge(scope, **{**action, "tallies": later}).reply
    assert ORDER.index(after) >= ORDER.index(judge(scope, **action).reply)


@settings(deadline=None)
@given(SCOPES, SCOPES)
def test_a_scope_survives_json_and_marshal(one: Scope, other: Scope) -> None:
    joined = narrow(one, other)
    assert joined is not None
    assert restore(json.loads(json.dumps(joined.plain()))) == joined
    assert restore(marshal.loads(marshal.dumps(joined.plain()))) == joined
