"""What the tests of the policy engine share: a catalog, and short ways to compile, prepare and decide."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from policies.action import Action, Resource, Subject
from policies.bundle import Bundle
from policies.compile import compile_bundle
from policies.error import PolicyError, PolicyErrors, Source
from policies.loader import load_documents
from policies.prepare import Prepared, Preparer
from policies.verdict import Verdict, decide

CATALOG = """\
kind: Catalog
tools:
  payments.transfer:
    system: core-banking
    effects: [pay, write]
    data: []
    boundary: external
    actions: [call]
    args: {to: {type: iban, role: destination}, amount: {type: decimal}, note: {type: string}, lines: {type: list}}
  crm.read: {system: crm, effects: [read], data: [pii], boundary: internal, returns: trusted}
  mail.read: {system: mail, effects: [read], data: [], returns: {default: trusted, /body: untrusted}}
  mail.send: {system: mail, effects: [send], boundary: external, args: {to: {type: email}, body: {}}}
  clock.read: {effects: [read], args: {}}
  vague: {}
  mcp.*: {system: mcp, args: {path: {type: string}}}
resources:
  todo: {"**": {effects: [write]}}
systems: {crm: {jurisdiction: EU}, core-banking: {jurisdiction: CH}}
"""


def policy(*rules: str, head: str = "") -> str:
    """A policy `p` of rules in flow style: `{id: a, on: {…}, then: deny}`."""
    listed = "".join(f"  - {rule}\n" for rule in rules)
    return f"kind: Policy\nname: p\n{head}rules:\n{listed}" if rules else f"kind: Policy\nname: p\n{head}"


def bundle_of(*texts: str) -> Bundle:
    return compile_bundle(
        load_documents([Source(name=f"{n}.yaml", text=text) for n, text in enumerate(texts)])
    )


def errors_of(*texts: str) -> list[PolicyError]:
    """The errors of loading and compiling; none is a failure of the test that asks."""
    try:
        bundle_of(*texts)
    except PolicyErrors as refused:
        return list(refused.errors)
    raise AssertionError("nothing was refused")


def action(
    tool: str = "payments.transfer",
    arguments: Mapping[str, Any] | None = None,
    *,
    resource_type: str = "tool",
    name: str = "call",
    properties: Mapping[str, Any] | None = None,
    context: Mapping[str, Any] | None = None,
    now_us: int = 0,
    **subject: Any,
) -> Action:
    who = {"type": "agent", "id": "bot", **subject}
    return Action(
        tenant="default",
        subject=Subject(**who),
        name=name,
        resource=Resource(type=resource_type, id=tool, properties=properties or {}),
        arguments=arguments or {},
        context=context or {},
        now_us=now_us,
    )


def prepared(bundle: Bundle, asked: Action) -> Prepared:
    return Preparer(bundle).prepare(asked)


def verdict_on(bundle: Bundle, asked: Action) -> Verdict:
    found = prepared(bundle, asked)
    return decide(bundle, possibly=found.possibly, certainly=found.certainly, refusal=found.refusal)


def truth_of(on: str, when: str, asked: Action) -> tuple[bool, bool]:
    """(possibly, certainly) of one atom, for an action."""
    rule = f"{{id: a, on: {on}, then: deny" + (f", when: '{when}'" if when else "") + "}"
    found = prepared(bundle_of(CATALOG, policy(rule)), asked)
    return bool(found.possibly), bool(found.certainly)
