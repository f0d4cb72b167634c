"""Parameters of policies: put in before anything is validated, each mistake with its place."""

from __future__ import annotations

import pytest

from policies.bundle import Bundle
from policies.compile import compile_sources
from policies.error import PolicyErrors

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
        ("parameters: {p: {agents: x}}", POLICY.replace("$most", "$mist"), "unknown_parameter", "`$mist`"),
        ("parameters: {p: {agents: x}}", POLICY.replace("$most", "3"), "unused_parameter", "`$most`"),
        ("parameters: {p: {agents: x, stop: stop}}", POLICY, "unknown_value", "unknown value `stop`"),
        ("parameters: {p: {agents: {a: b}}}", POLICY, "", "b.yaml"),
    ],
)
def test_a_mistake_is_told_with_its_place(settings: str, policy: str, code: str, says: str) -> None:
    found = told(settings, policy)
    assert any((not code or code == one) and says in text for one, text in found), found
