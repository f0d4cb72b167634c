"""docs/policies.md is executed: its examples are run, its tables, error texts and numbers are held to the code."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from unit.policies.policy_texts import CATALOG, policy

from actors.agent_journal import ORIGINS_MEMORY_US
from actors.past_journal import MOST_RECALLED, MOST_RECORDED
from controlplane.cli.bundle import app as bundle_commands
from controlplane.cli.policy import app as policy_commands
from policies import budgets, cel, quantities
from policies.action import Resource, Subject
from policies.asked.scope import MAX_ENTRIES
from policies.bundle import Bundle
from policies.canonical_values import canonical
from policies.catalog import ARGUMENT_ROLES, ARGUMENT_TYPES, EFFECTS
from policies.compile import compile_bundle, compile_sources
from policies.delegation import MAX_DEPTH
from policies.documents import (
    LATER_KEYS,
    ApproveDocument,
    BundleDocument,
    PolicyDocument,
    ResourceDocument,
    RuleDocument,
)
from policies.engine import Engine
from policies.error import PolicyErrors, Source
from policies.globs import MAX_WILDCARDS
from policies.index import KEYS
from policies.keeping import MOST_POINTERS
from policies.ledgers import MOST_KEYS
from policies.loader import load_documents
from policies.modification.checks import MOST_BYTES
from policies.modification.documents import MOST_OPERATIONS, MOST_VALUES, ModifyDocument
from policies.modification.effort import MOST_TRIES
from policies.modification.operations import KINDS
from policies.origin.origins import MOST_AWAITED, MOST_NAMES, MOST_PHRASES
from policies.origin.units import MOST_CHARACTERS, MOST_UNITS
from policies.past import parse
from policies.past.parse import FormulaError
from policies.past.retention import HISTORY_DAYS
from policies.past.slices import MOST_SLICES
from policies.rule_documents import LimitDocument
from policies.stories import run_stories
from policies.story_documents import (
    StoryDocument,
    StoryOutcomeDocument,
    StorySessionDocument,
    StoryStepDocument,
)

PAGE = (Path(__file__).parents[3] / "docs" / "policies.md").read_text()
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)
(TREASURY,) = [example for example in EXAMPLES if "name: treasury" in example and "define:" in example]
IN_RULE = " in rule `treasury/r`"


def table(head: str) -> list[list[str]]:
    """The cells of the one table of the page that begins with `head`, without its head."""
    (rows,) = re.findall(rf"^\| {re.escape(head)} \|.*\n\|[-|]+\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    return [re.split(r" ?\| ?", row.strip("|").strip()) for row in rows.splitlines()]


def code(cell: str) -> str:
    """The first thing in a cell that is set as code."""
    return str(re.findall(r"`([^`]+)`", cell)[0])


def with_rule(keys: str) -> Bundle:
    """The treasury with one rule more, `r`."""
    first, rest = TREASURY.split("rules:\n", 1)
    return compile_sources([("treasury.yaml", first + "rules:\n  - {id: r, " + keys + "}\n" + rest)])


def complaints(keys: str) -> list[tuple[str, str]]:
    """What is said of a rule, errors or warnings: (code, text)."""
    try:
        findings = list(with_rule(keys).warnings)
    except PolicyErrors as refused:
        findings = list(refused.errors)
    return [
        (one.code, (one.message + (f"; {one.hint}" if one.hint else "")).replace(IN_RULE, ""))
        for one in findings
    ]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda text: text.splitlines()[1])
def test_each_example_is_a_bundle_whose_tests_pass_and_reach_every_rule(example: str) -> None:
    documents = load_documents([Source(name="policies.md", text=example)])
    bundle = compile_bundle(documents)
    assert bundle.warnings == ()
    report = run_stories(bundle, documents.tests)
    assert report.cases
    assert report.failures == ()
    assert report.never_matched == ()
    assert report.never_held == ()


NAMES = {
    "on": KEYS,
    "cel": cel.VARIABLES,
    "effects": EFFECTS,
    "types": ARGUMENT_TYPES,
    "roles": ARGUMENT_ROLES,
    "words of formulas": parse.KEYWORDS,
    "kinds of redact": KINDS,
    "operations": [name.replace("_", "-") for name in ModifyDocument.model_fields],
    "later keys": frozenset().union(*LATER_KEYS.values()),
    **{
        model.__name__: model.model_fields
        for model in (
            RuleDocument, LimitDocument, ApproveDocument, PolicyDocument, ResourceDocument, BundleDocument,
            StoryDocument, StorySessionDocument, StoryStepDocument, StoryOutcomeDocument,
        )
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", NAMES)
def test_every_name_of_the_language_stands_in_the_reference(kind: str) -> None:
    names = set(NAMES[kind]) - {"kind"}
    assert sorted(name for name in names if not re.search(rf"`(?:\w+: )?{re.escape(name)}\b", PAGE)) == []


def test_the_table_of_a_rule_says_what_is_required_and_what_is_the_default() -> None:
    written = {code(key): left_out for key, left_out, _ in table("key | left out")}
    fields = RuleDocument.model_fields
    assert written.keys() == fields.keys()
    assert {key for key, left_out in written.items() if left_out == "required"} == {
        name for name, field in fields.items() if field.is_required()
    }
    for key in ("scope", "mode"):
        assert code(written[key]) == fields[key].default


@pytest.mark.parametrize(("written", "read"), table("written"))
def test_a_formula_is_read_with_the_brackets_that_the_page_says(written: str, read: str) -> None:
    if read.startswith("refused"):
        with pytest.raises(FormulaError) as refused:
            parse.parse(code(written))
        assert refused.value.hint in read
    else:
        assert code(written) != code(read)
        assert parse.parse(code(written)) == parse.parse(code(read))


@pytest.mark.parametrize(("then", "refused", "what", "_", "instead"), table("`then`"))
def test_what_would_loosen_is_refused_and_what_the_page_says_instead_is_not(
    then: str, refused: str, what: str, _: str, instead: str
) -> None:
    assert [found for found, _ in complaints(rule_of(then, refused))] == [code(what)]
    assert complaints(rule_of(then, instead)) == []


def rule_of(then: str, past: str) -> str:
    return f'past: "{code(past)}", then: {code(then)}'


@pytest.mark.parametrize(("what", "says"), table("code"))
def test_the_codes_of_the_polarity_check_say_what_the_page_says(what: str, says: str) -> None:
    said = [
        text
        for then, refused, *_ in table("`then`")
        for found, text in complaints(rule_of(then, refused))
        if found == code(what)
    ]
    assert says in said


def test_the_word_that_permitted_is_done_opens_previous_and_since_and_nothing_else() -> None:
    left = {
        found
        for then, refused, *_ in table("`then`")
        for found, _ in complaints(rule_of(then, refused) + ", permitted_is_done: true")
    }
    assert left == {"loosens_on_permission", "misplaced_done"}


@pytest.mark.parametrize(("mistake", "told"), table("what a rule says"))
def test_a_mistake_is_told_as_the_page_says(mistake: str, told: str) -> None:
    assert [text for _, text in complaints(code(mistake))] == [told]


def test_mistakes_outside_of_rules_are_told_as_the_page_says() -> None:
    reserved = TREASURY.replace("  reads_pii: {", "  once: {on: {tool: dlp.scan}}\n  reads_pii: {", 1)
    with pytest.raises(PolicyErrors) as refused:
        compile_sources([("treasury.yaml", reserved)])
    (error,) = refused.value.errors
    assert f"is told: {error.message}." in PAGE
    watching = "kind: Bundle\nname: watching\nmode: monitor\n---\n" + TREASURY
    (warning,) = compile_sources([("treasury.yaml", watching)]).warnings
    assert f"{warning.message}; {warning.hint}." in " ".join(PAGE.split())


@pytest.mark.parametrize(("types", "one", "others"), table("type | one value"))
def test_values_are_one_or_another_as_the_page_says(types: str, one: str, others: str) -> None:
    def read(cell: str, type_: str) -> list[bytes | None]:
        return [canonical(json.loads(text), type_) for text in re.findall(r"`([^`]+)`", cell)]

    for type_ in re.findall(r"`(\w+)`", types):
        same, different = read(one, type_), read(others, type_)
        assert len(set(same)) == 1
        assert len({same[0], *different}) == 1 + len(different)


def test_every_type_of_an_argument_is_in_the_table_of_values() -> None:
    assert {type_ for row in table("type | one value") for type_ in re.findall(r"`(\w+)`", row[0])} == set(
        ARGUMENT_TYPES
    )


CEL_LEVELS, CEL_STEPS = 32, 10_000  # the CEL library's own


def test_a_condition_is_bounded_as_the_page_says() -> None:
    def nested(levels: int) -> cel.Condition:
        return cel.Condition("(" * levels + "true" + ")" * levels)

    nested(CEL_LEVELS)
    with pytest.raises(cel.ConditionError, match=f"at most {CEL_LEVELS} levels"):
        nested(CEL_LEVELS + 1)
    loops = "context.l.exists(x, context.l.exists(y, x == 'z' && y == 'z'))"
    rules = f'{{id: r, when: "{loops}", then: allow}}'
    engine = Engine(compile_sources([("catalog.yaml", CATALOG), ("p.yaml", policy(rules))]))
    session = engine.open_session("s", Subject(type="agent", id="a"))
    for length, failed in ((99, ()), (100, ("p/r",))):  # x and every y: n * (n + 1) steps
        assert (length * (length + 1) > CEL_STEPS) is bool(failed)
        decision = engine.decide(
            session,
            resource=Resource(type="tool", id="clock.read"),
            arguments={},
            context={"l": ["a"] * length},
            now_us=1,
        )
        assert decision.verdict.uncertain == failed


BOUNDS = {
    "a formula": (parse.MAX_NODES, parse.MAX_DEPTH),
    "values of a `by`, in each scope instance": (MOST_SLICES,),
    "keys of a `limit`, in each scope instance": (MOST_KEYS,),
    "times in a window that are told apart": (budgets.MOST_BUCKETS,),
    "an amount": (quantities.MOST_WHOLE_DIGITS, quantities.PLACES),
    "the record for new rules": (HISTORY_DAYS, MOST_RECALLED, MOST_RECORDED),
    "a past of a session or workflow that nobody uses": (HISTORY_DAYS,),
    "values of one action that `origin` looks at": (MOST_UNITS, MOST_CHARACTERS),
    "what a workflow knows of its values": (64, MOST_NAMES, MOST_PHRASES),
    "reads of strangers' text whose results are awaited": (MOST_AWAITED,),
    "what a workflow knows, when nobody uses it": (ORIGINS_MEMORY_US // 86_400_000_000,),
    "a scope": (MAX_ENTRIES, 256),
    "pointers of an entry's `evidence`": (MOST_POINTERS,),
    "levels of delegation": (MAX_DEPTH,),
    "a condition": (CEL_LEVELS, CEL_STEPS),
    "wildcards of a glob": (MAX_WILDCARDS,),
    "operations of a `modify`": (MOST_OPERATIONS, MOST_BYTES, MOST_VALUES),
    "candidates that one `redact` looks at": (MOST_TRIES,),
}


def spaced(number: int) -> str:
    return f"{number:,}".replace(",", " ")


def test_the_bounds_of_the_page_are_those_of_the_code() -> None:
    rows = {what: (bound, past) for what, bound, past in table("what | bound")}
    assert rows.keys() == BOUNDS.keys()
    for what, numbers in BOUNDS.items():
        written = re.findall(r"\d{1,3}(?: \d{3})*", rows[what][0])
        assert written == [spaced(number) for number in numbers], what
    assert f"1/{budgets.GRAINS} " in rows["times in a window that are told apart"][1]


def test_the_numbers_in_the_text_are_those_of_the_bounds() -> None:
    text = " ".join(PAGE.split())
    assert f"At most {spaced(MOST_SLICES)} values**" in text
    assert f"at most {spaced(MOST_KEYS)} keys" in text
    assert f"Up to {budgets.MOST_BUCKETS} different times" in text
    assert f"up to 1/{budgets.GRAINS} of `per`" in text
    assert (
        f"up to {quantities.MOST_WHOLE_DIGITS} digits before the point and {quantities.PLACES} after" in text
    )
    assert f"for {HISTORY_DAYS} days, and up to {spaced(MOST_RECALLED)} actions" in text


def test_every_command_of_the_page_is_one() -> None:
    named = set(re.findall(r"`controlplane (bundle|policy) (\w+)", PAGE))
    known = {
        (group, command.name)
        for group, app in (("bundle", bundle_commands), ("policy", policy_commands))
        for command in app.registered_commands
    }
    assert len(named) > 6 and named <= known


QUIET = """
---
kind: Test
name: quiet
sessions: {s: {agent: treasury-bot}}
cases:
  - name: quiet
    steps:
"""
READ = "{session: s, tool: crm.read_customer, expect: %s}"
PAY = "{session: s, tool: payments.transfer, args: {to: GB33, amount: 1}, expect: %s}"
SCAN = "{session: s, tool: dlp.scan, expect: %s}"


@pytest.mark.parametrize(
    ("keys", "steps"),
    [
        ("on: {tool: payments.transfer}, past: once pays, then: deny", [PAY % "deny"]),
        ("on: {tool: payments.transfer}, past: once done(pays), then: deny", [PAY % "allow", PAY % "deny"]),
        (
            "on: {tool: payments.transfer}, limit: {count: actions, above: 1}, then: deny",
            [PAY % "allow", PAY % "deny"],
        ),
        ("past: once reads_pii, then: deny", [SCAN % "allow", READ % "deny", SCAN % "allow"]),
        ("past: once pays, then: escalate", [READ % "allow", PAY % "escalate"]),
        (
            "on: {agent: other, tool: dlp.scan}, limit: {count: actions, above: 1}, then: allow",
            [SCAN.replace("s,", "o,", 1) % "deny"],
        ),
    ],
)
def test_what_no_error_tells_happens_as_the_page_says(keys: str, steps: list[str]) -> None:
    first, rest = TREASURY.split("rules:\n", 1)
    rules = rest.split("---\n", 1)[0]
    story = QUIET.replace("{agent: treasury-bot}", "{agent: treasury-bot}, o: {agent: other}")
    text = first + "rules:\n  - {id: r, " + keys + "}\n" + rules + story.lstrip("\n")
    documents = load_documents(
        [Source(name="quiet.yaml", text=text + "".join(f"      - {s}\n" for s in steps))]
    )
    assert run_stories(compile_bundle(documents), documents.tests).failures == ()


@pytest.mark.parametrize(
    ("scopes", "stopped"),
    [
        (("workflow",), {"delegate"}),
        (("agent",), {"other"}),
        (("workflow", "agent"), {"delegate", "other"}),
    ],
)
def test_two_scopes_side_by_side_stop_delegates_and_other_sessions(
    scopes: tuple[str, ...], stopped: set[str]
) -> None:
    rules = "".join(
        f"  - {{id: {scope}, on: {{effect: send}}, past: once reads, scope: {scope}, then: deny}}\n"
        for scope in scopes
    )
    told = "".join(
        f"  - name: {who}\n    steps:\n      - {{session: s, tool: crm.read, expect: allow}}\n"
        f"      - {{session: {who}, tool: mail.send, expect: {'deny' if who in stopped else 'allow'}}}\n"
        for who in ("delegate", "other")
    )
    text = f"""\
kind: Catalog
tools:
  crm.read: {{effects: [read], data: [pii], boundary: internal}}
  mail.send: {{effects: [send], data: [], boundary: external}}
---
kind: Policy
name: p
define: {{reads: {{on: {{data: pii}}}}}}
rules:
  - {{id: all, then: allow}}
{rules}---
kind: Test
name: t
sessions: {{s: {{agent: a}}, other: {{agent: a}}, delegate: {{agent: b, parent: s}}}}
cases:
{told}"""
    documents = load_documents([Source(name="scopes.yaml", text=text)])
    report = run_stories(compile_bundle(documents), documents.tests)
    assert [case.name for case in report.cases] == ["delegate", "other"]
    assert report.failures == ()
