"""The policy engine against naive references, on generated rules, catalogs and actions."""

from __future__ import annotations

import json
from collections.abc import Mapping

from hypothesis import given, settings
from hypothesis import strategies as st

from policies.action import Action, Resource, Subject
from policies.bundle import Atom, Bundle, Rule
from policies.catalog import ARGUMENT_TYPES, ArgumentType, Catalog, ResourceFacts
from policies.effect import Effect
from policies.error import PolicyErrors, Source
from policies.index import KEYS
from policies.loader import load_documents
from policies.prepare import Prepared, Preparer
from policies.verdict import Verdict, decide, matched_rules

SEGMENTS = ["a", "b", "ab"]
names = st.lists(st.sampled_from(SEGMENTS), min_size=1, max_size=3).map(".".join)
patterns = st.one_of(
    names,
    st.lists(st.sampled_from([*SEGMENTS, "*", "**", "a*"]), min_size=1, max_size=3).map(".".join),
)
CONDITIONS = [
    None,
    "args.x > 1",
    "args.x > 1.0 || has(args.y)",
    'subject.owner == "a"',
    '!(args.y == "a")',
    "size(args) == 1",
]
ons = st.dictionaries(st.sampled_from(KEYS), st.lists(patterns, min_size=1, max_size=2), max_size=3)
atoms = st.builds(
    lambda on, when: Atom(on=tuple(sorted((key, tuple(sorted(set(v)))) for key, v in on.items())), when=when),
    ons,
    st.sampled_from(CONDITIONS),
)
maybe_names = st.none() | st.lists(names, max_size=2).map(tuple)
facts = st.builds(
    ResourceFacts,
    system=st.none() | names,
    effects=maybe_names,
    data=maybe_names,
    boundary=st.none() | names,
    jurisdiction=st.none() | names,
    trust=st.none() | names,
    arguments=st.none()
    | st.fixed_dictionaries(
        {
            name: st.builds(ArgumentType, type=st.sampled_from(ARGUMENT_TYPES), required=st.booleans())
            for name in "xy"
        }
    ),
)
actions = st.builds(
    lambda who, id_, labels, owner, name, type_, tool, arguments: Action(
        tenant="a",
        subject=Subject(type=who, id=id_, labels=tuple(labels), owner=owner),
        name=name,
        resource=Resource(type=type_, id=tool),
        arguments=arguments,
        now_us=0,
    ),
    st.sampled_from(["agent", "a"]),
    names,
    st.lists(names, max_size=2),
    st.none() | st.just("a"),
    names,
    st.sampled_from(["tool", "a"]),
    names,
    st.dictionaries(
        st.sampled_from(["x", "y"]),
        st.sampled_from([0, 1, 2, 2.5, "a", "2", "1_0", " 2", "2e9", None, True, ["a"]]),
    ),
)


@st.composite
def bundles(draw: st.DrawFn) -> Bundle:
    chosen = draw(st.lists(atoms, min_size=1, max_size=8, unique=True))
    effects = draw(st.lists(st.sampled_from([Effect.ALLOW, Effect.DENY]), min_size=1, max_size=12))
    rules = [
        Rule(policy="p", id=f"r{number}", effect=effect, atom=number % len(chosen), because="", controls=())
        for number, effect in enumerate(effects)
    ]
    known = draw(st.dictionaries(st.tuples(st.sampled_from(["tool", "a"]), names), facts, max_size=4))
    return Bundle(
        digest="sha256:",
        name="p",
        default=draw(st.sampled_from([Effect.ALLOW, Effect.DENY])),
        uncatalogued=draw(st.sampled_from([Effect.ALLOW, Effect.DENY])),
        rules=rules,
        atoms=chosen,
        defines={},
        catalog=Catalog(known),
        sources=(),
        warnings=(),
    )


def naive_uncertain(bundle: Bundle, prepared: Prepared, verdict: Verdict) -> tuple[str, ...]:
    leading = {"rule_deny": Effect.DENY, "default_deny": Effect.ALLOW}.get(verdict.reason_code)
    return tuple(
        rule.name
        for rule in bundle.rules
        if rule.effect is leading
        and prepared.possibly >> rule.atom & 1
        and not prepared.certainly >> rule.atom & 1
    )


def naive_glob(pattern: str, name: str) -> bool:
    if not pattern:
        return not name
    if pattern.startswith("**"):
        return any(naive_glob(pattern[2:], name[cut:]) for cut in range(len(name) + 1))
    if pattern.startswith("*"):
        cuts = [cut for cut in range(len(name) + 1) if "." not in name[:cut]]
        return any(naive_glob(pattern[1:], name[cut:]) for cut in cuts)
    return name[:1] == pattern[0] and naive_glob(pattern[1:], name[1:])


def naive_facts(bundle: Bundle, action: Action) -> Mapping[str, tuple[str, ...] | None]:
    """key → the names that are known, or None when the fact is unknown."""
    resource = action.resource
    known = bundle.catalog.entries.get((resource.type, resource.id), ResourceFacts())

    def single(name: str | None) -> tuple[str, ...] | None:
        return None if name is None else (name,)

    return {
        "tenant": (action.tenant,),
        "agent": (action.subject.id,) if action.subject.type == "agent" else (),
        "subject_type": (action.subject.type,),
        "agent_label": action.subject.labels,
        "action": (action.name,),
        "tool": (resource.id,) if resource.type == "tool" else (),
        "resource": (resource.id,),
        "resource_type": (resource.type,),
        "system": single(known.system),
        "effect": known.effects,
        "data": known.data,
        "boundary": single(known.boundary),
        "jurisdiction": single(known.jurisdiction),
        "trust": single(known.trust),
    }


def naive_value(value: object, type_: str) -> object:
    """The value as its type has it, or an exception when it is not of its type."""
    match type_, value:
        case "any", _:
            return value
        case "decimal" | "number" | "integer", float() | int() | str() if not isinstance(value, bool):
            parsed = json.loads(value) if isinstance(value, str) and value.strip() == value else value
            if not isinstance(parsed, (int, float)) or (type_ == "integer" and parsed != int(parsed)):
                raise ValueError(value)
            return float(parsed)
        case "boolean", bool():
            return value
        case "list", list():
            return value
        case "string" | "iban" | "email" | "url" | "date" | "datetime", str():
            return value
    raise ValueError(value)


def naive_condition(
    when: str | None, action: Action, types: Mapping[str, ArgumentType] | None
) -> bool | None:
    """The conditions again, in Python; None = failed."""
    arguments = {}
    mistyped = set()
    for name, value in action.arguments.items():
        try:
            arguments[name] = naive_value(value, types[name].type if types is not None else "any")
        except ValueError:
            mistyped.add(name)
    if when is not None and any(f"args.{name}" in when or "(args)" in when for name in mistyped):
        return None

    def more_than_one() -> bool | None:
        value = arguments.get("x")
        return value > 1 if type(value) in (int, float) else None  # type: ignore[operator]

    match when:
        case None:
            return True
        case "size(args) == 1":
            return len(arguments) == 1
        case "args.x > 1":
            return more_than_one()
        case "args.x > 1.0 || has(args.y)":
            return True if "y" in arguments else more_than_one()
        case 'subject.owner == "a"':
            return None if action.subject.owner is None else action.subject.owner == "a"
        case _:
            return arguments["y"] != "a" if "y" in arguments else None


def naive_truth(bundle: Bundle, atom: Atom, action: Action) -> tuple[bool, bool]:
    known = naive_facts(bundle, action)
    possibly = certainly = True
    for key, wanted in atom.on:
        found = known[key]
        if found is None:
            certainly = False
        elif not any(naive_glob(pattern, name) for pattern in wanted for name in found):
            possibly = certainly = False
    entry = bundle.catalog.entries.get((action.resource.type, action.resource.id), ResourceFacts())
    holds = naive_condition(atom.when, action, entry.arguments)
    return possibly and holds is not False, certainly and holds is True


@settings(max_examples=150, deadline=None)
@given(bundles(), st.lists(actions, min_size=1, max_size=3))
def test_the_index_and_cel_agree_with_a_naive_matcher(bundle: Bundle, asked: list[Action]) -> None:
    preparer = Preparer(bundle)
    for action in (*asked, *asked):  # twice: from the memos too
        prepared = preparer.prepare(action)
        for number, atom in enumerate(bundle.atoms):
            if bundle.idle >> number & 1:
                assert not (prepared.possibly | prepared.certainly) >> number & 1, "nobody asks for it"
                continue
            found = bool(prepared.possibly >> number & 1), bool(prepared.certainly >> number & 1)
            assert found == naive_truth(bundle, atom, action), atom


@settings(max_examples=150, deadline=None)
@given(bundles(), actions)
def test_nothing_is_certain_that_is_not_possible_and_nothing_is_allowed_past_a_possible_deny(
    bundle: Bundle, action: Action
) -> None:
    prepared = Preparer(bundle).prepare(action)
    assert prepared.certainly & ~prepared.possibly == 0
    assert prepared.possibly < 1 << len(bundle.atoms)
    verdict = decide(
        bundle, possibly=prepared.possibly, certainly=prepared.certainly, refusal=prepared.refusal
    )
    denying = [
        rule for rule in bundle.rules if rule.effect is Effect.DENY and prepared.possibly >> rule.atom & 1
    ]
    granting = [
        rule for rule in bundle.rules if rule.effect is Effect.ALLOW and prepared.certainly >> rule.atom & 1
    ]
    if denying or prepared.refusal is not None:
        assert verdict.effect is Effect.DENY
    elif granting:
        assert verdict.effect is Effect.ALLOW
    else:
        assert (verdict.effect, verdict.reasons) == (bundle.default, ())
    assert verdict.uncertain == naive_uncertain(bundle, prepared, verdict)
    if prepared.refusal is None:
        leading = denying or granting
        assert [reason.rule for reason in verdict.reasons] == [rule.name for rule in leading]
        matched = matched_rules(bundle, possibly=prepared.possibly, certainly=prepared.certainly)
        assert {rule.name for rule in matched} == {rule.name for rule in (*denying, *granting)}


@settings(max_examples=150, deadline=None)
@given(bundles(), st.integers(min_value=0), st.integers(min_value=0), st.integers(min_value=0))
def test_learning_less_never_turns_a_deny_into_an_allow(
    bundle: Bundle, possibly: int, certainly: int, fog: int
) -> None:
    everything = (1 << len(bundle.atoms)) - 1
    possibly &= everything
    certainly &= possibly
    before = decide(bundle, possibly=possibly, certainly=certainly)
    after = decide(bundle, possibly=possibly | fog & everything, certainly=certainly & ~fog)
    if before.effect is Effect.DENY and before.reason_code == "rule_deny":
        assert after.effect is Effect.DENY
    if after.reason_code == "rule_allow":
        assert before.effect is Effect.ALLOW


PIECES = st.sampled_from(
    [
        "kind: Policy\n", "kind: Catalog\n", "kind: Test\n", "name: p\n", "rules:\n", "  - ", "id: a", "{", "}", "[",
        "]", ": ", ", ", "then: deny\n", "when: args.x >", "'", '"', "\n", "---\n", "&a ", "*a", "!!x ", "|\n", ">\n",
        "on: ", "? ", "<<: ", "\t", "%YAML 1.1\n", "\\u0000", "\u2028", "\ufeff", "é", "\ud800", "0x",
        "tools:\n",
    ]
)  # fmt: skip


@settings(max_examples=250, deadline=None)
@given(st.one_of(st.text(), st.lists(PIECES, max_size=30).map("".join)))
def test_whatever_the_text_the_loader_answers_with_documents_or_policy_errors(text: str) -> None:
    try:
        load_documents([Source(name="f.yaml", text=text)])
    except PolicyErrors as refused:
        assert refused.errors
        assert all(error.line >= 1 and error.column >= 1 and error.message for error in refused.errors)
