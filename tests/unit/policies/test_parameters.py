"""Parameters of policies: put in before anything is validated, each mistake with its place."""

from __future__ import annotations

import re

import pytest

from policies.bundle import Bundle
from policies.compile import compile_sources
from policies.effect import Effect
from policies.error import PolicyErrors
from policies.packs import pack_page, pack_policy, packs

POLICY = """
kind: Policy
name: p
parameters:
  stop: {default: deny}
  who: {default: [role:a, role:b]}
  most: {default: 10}
  agents: {}
rules:
  - {id: a, on: {agent: [root, $agents]}, then: allow}
  - {id: b, limit: {count: actions, above: $most}, then: $stop}
  - {id: c, then: escalate, approve: {by: [role:z, $who]}}
  - {id: d, then: deny, because: "$stop"}
"""
BUNDLE = "kind: Bundle\nname: b\nuncatalogued: allow\n"


def compiled(settings: str, policy: str = POLICY) -> Bundle:
    return compile_sources([("p.yaml", policy), ("b.yaml", BUNDLE + settings)])


def told(settings: str, policy: str = POLICY) -> list[tuple[str, str]]:
    with pytest.raises(PolicyErrors) as refused:
        compiled(settings, policy)
    return [(error.code, str(error)) for error in refused.value.errors]


def test_defaults_and_settings_stand_where_they_are_named() -> None:
    bundle = compiled("parameters: {p: {agents: [x, y], stop: escalate, most: 3}}")
    assert bundle.atoms[bundle.rules[0].atom].on == (("agent", ("root", "x", "y")),)
    assert [str(rule.effect) for rule in bundle.rules] == ["allow", "escalate", "escalate", "deny"]
    assert [limit.above for limit in bundle.program.limits] == [3]
    assert bundle.rules[3].because == "$stop", "what is quoted is text"


def test_what_is_put_in_is_part_of_the_digest_and_where_it_came_from_is_not() -> None:
    written = POLICY.replace("agents: {}", "agents: {default: x}")
    assert compiled("parameters: {p: {agents: x}}").digest == compiled("", written).digest
    assert compiled("parameters: {p: {agents: x}}").digest != compiled("parameters: {p: {agents: y}}").digest


@pytest.mark.parametrize(
    ("settings", "policy", "code", "says"),
    [
        ("", POLICY, "missing_parameter", "p.yaml:8:3: the parameter `agents` has no default"),
        ("parameters: {p: {agent: x, agents: x}}", POLICY, "unknown_parameter", "did you mean `agents`?"),
        (
            "parameters: {q: {agents: x}}",
            POLICY,
            "unknown_policy",
            "b.yaml:4:14: there is no policy `q` here",
        ),
        ("parameters: {agent-safety: {stop: deny}}", POLICY, "unknown_policy",
         "name it beside your files, `pack:agent-safety`"),
        ("parameters: {'pack:agent-safety': {stop: deny}}", POLICY, "unknown_policy", "write `agent-safety`"),
        ("parameters: {p: {agents: x}}", POLICY.replace("$most", "$mist"), "unknown_parameter", "`$mist`"),
        ("parameters: {p: {agents: x}}", POLICY.replace("$most", "3"), "unused_parameter", "`$most`"),
        ("parameters: {p: {agents: x, stop: stop}}", POLICY, "unknown_value", "unknown value `stop`"),
        ("parameters: {p: {agents: {a: b}}}", POLICY, "", "b.yaml"),
        ("parameters: {p: {agents: x, stop: allow}}", POLICY, "parameter_grants", "b.yaml:4:35: a parameter cannot"),
        ("parameters: {p: {agents: x}}", POLICY.replace("deny}\n  who", "allow}\n  who"), "parameter_grants",
         "p.yaml:5:19: a parameter cannot make a rule grant: `then: $stop`"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_place(settings: str, policy: str, code: str, says: str) -> None:
    found = told(settings, policy)
    assert any((not code or code == one) and says in text for one, text in found), found


TWO_USES = """
kind: Policy
name: p
parameters:
  stop: {default: escalate}
  who: {default: role:a}
rules:
  - {id: a, on: {tool: x}, then: $stop, approve: {by: $who}}
  - {id: b, on: {tool: y}, then: $stop, approve: {by: [role:z, $who]}}
"""


@pytest.mark.parametrize(
    ("settings", "place"),
    [
        ("parameters: {p: {stop: dney}}", "b.yaml:4:24: unknown value `dney`"),
        ("parameters: {p: {who: the boss}}", "b.yaml:4:23: `the boss` does not fit"),
        ("parameters: {p: {who: [role:b, the boss]}}", "b.yaml:4:32: `the boss` does not fit"),
    ],
)
def test_a_wrong_value_is_told_once_where_it_was_set(settings: str, place: str) -> None:
    ((_, text),) = told(settings, TWO_USES)
    assert text.startswith(place)


def test_a_parameter_that_is_no_mapping_is_told_once() -> None:
    ((code, text),) = told("", TWO_USES.replace("{default: escalate}", "deny"))
    assert code == "wrong_type" and "its keys are `default`, `description`" in text


def test_who_approves_says_nothing_where_a_parameter_says_deny() -> None:
    bundle = compiled("parameters: {p: {stop: deny}}", TWO_USES)
    assert [str(rule.effect) for rule in bundle.rules] == ["deny", "deny"]
    written = TWO_USES.replace("then: $stop", "then: deny", 1)
    assert [code for code, _ in told("", written)] == ["nothing_to_approve"], "of a rule that says so itself"


@pytest.mark.parametrize("name", packs())
def test_the_examples_of_a_packs_page_compile_and_the_pack_grants_nothing(name: str) -> None:
    examples = re.findall(r"```yaml\n(.*?)```", pack_page(name), flags=re.DOTALL)
    assert examples
    for example in examples:
        bundle = compile_sources([("README.md", example), (f"pack:{name}", pack_policy(name))])
        assert bundle.rules
        assert {rule.effect for rule in bundle.rules} <= {Effect.ESCALATE, Effect.DENY}


def test_agent_safety_can_be_watched_before_it_stops_anything() -> None:
    settings = "kind: Bundle\nname: b\nparameters: {agent-safety: {mode: monitor}}\n"
    pack = ("pack:agent-safety", pack_policy("agent-safety"))
    assert all(rule.monitored for rule in compile_sources([("b.yaml", settings), pack]).rules)
    assert not any(rule.monitored for rule in compile_sources([pack]).rules)
