from __future__ import annotations

import itertools
import re

import pytest
from unit.policies.policy_texts import CATALOG, bundle_of, errors_of, policy

from policies.bundle import Atom
from policies.compile import compile_bundle, compile_sources
from policies.document_types import Text
from policies.documents import PolicyDocument, RuleDocument
from policies.effect import Effect
from policies.error import PolicyErrors, Source
from policies.loader import DocumentSet, load_documents
from policies.located import Located
from policies.normal_form import digest_of

OPEN = "kind: Bundle\nname: b\nuncatalogued: allow\n"


@pytest.mark.parametrize(
    ("on", "code", "message", "hint"),
    [
        ("{tool: payments.tranfser}", "unknown_tool", "unknown tool `payments.tranfser` in rule `p/a`",
         "did you mean `payments.transfer`?"),
        ("{system: cmr}", "unknown_system", "unknown system `cmr` in rule `p/a`", "did you mean `crm`?"),
        ("{resource_type: toodo}", "unknown_resource_type", "unknown resource type `toodo` in rule `p/a`",
         "did you mean `todo`?"),
        ("{effect: raed}", "unknown_effect", "unknown effect `raed` in rule `p/a`", "did you mean `read`?"),
        ("{boundary: outside}", "unknown_boundary", "unknown boundary `outside` in rule `p/a`",
         "one of `external`, `internal`"),
        ("{trust: untrustd}", "unknown_trust", "unknown trust `untrustd` in rule `p/a`",
         "did you mean `untrusted`?"),
        ("{resource: clock.raed}", "unknown_resource", "unknown resource `clock.raed` in rule `p/a`",
         "did you mean `clock.read`?"),
    ],
)  # fmt: skip
def test_a_name_outside_the_catalog_is_an_error_with_its_neighbour(
    on: str, code: str, message: str, hint: str
) -> None:
    if code == "unknown_resource":  # the catalog's `todo: **` knows every id: without it
        catalog = CATALOG.replace('resources:\n  todo: {"**": {effects: [write]}}\n', "")
    else:
        catalog = CATALOG
    (error,) = errors_of(policy(f"{{id: a, on: {on}, then: deny}}"), catalog)
    assert (error.code, error.message, error.hint) == (code, message, hint)


def test_an_error_in_a_list_points_at_the_item() -> None:
    (error,) = errors_of(policy("{id: a, on: {tool: [mail.send, mail.sned]}, then: deny}"), CATALOG)
    assert (error.line, error.column) == (4, 36)


@pytest.mark.parametrize(
    ("written", "line", "column"),
    [
        ("a and once[10m] bb", 1, 27),
        ("'a and once[10m] bb'", 1, 28),
        ('"a and once[10m] bb"', 1, 28),
        ("a and\n        once[10m] bb", 2, 19),
        ("'a\n\n        and once[10m] bb'", 3, 23),
        ("|\n      a and\n        once[10m] bb", 3, 19),
        (">-  # folded\n      a and\n      once[10m] bb", 3, 17),
        ("a and once[10m]", 1, 26),
        ("|\n      a and once[10m]\n", 2, 22),
    ],
)
def test_a_mistake_in_a_formula_is_shown_where_it_stands_in_the_file(
    written: str, line: int, column: int
) -> None:
    head = "kind: Policy\nname: p\ndefine: {a: {on: {tool: clock.read}}}\nrules:\n  - id: r\n    then: deny\n"
    (error,) = errors_of(CATALOG, f"{head}    past: {written}\n")
    assert (error.line - 6, error.column) == (line, column), error


def test_a_literal_that_a_catalogued_glob_covers_is_known() -> None:
    assert bundle_of(CATALOG, policy("{id: a, on: {tool: mcp.fs}, then: deny}")).warnings == ()


def test_what_matches_nothing_but_might_yet_is_a_warning() -> None:
    rules = policy(
        "{id: a, on: {tool: 'maill.*'}, then: deny}",
        "{id: b, on: {data: pci}, then: deny}",
        "{id: c, on: {jurisdiction: US}, then: deny}",
    )
    assert [(warning.code, warning.message) for warning in bundle_of(CATALOG, rules).warnings] == [
        ("matches_nothing", "`maill.*` matches no tool of the catalog in rule `p/a`"),
        ("matches_nothing", "unknown data class `pci` in rule `p/b`"),
        ("matches_nothing", "unknown jurisdiction `US` in rule `p/c`"),
    ]


def test_declared_data_classes_are_a_closed_set() -> None:
    declared = "kind: Catalog\ndata: {pii: {}, phi: {}}\n"
    (error,) = errors_of(CATALOG, declared, policy("{id: b, on: {data: pi}, then: deny}"))
    assert (error.code, error.hint) == ("unknown_data", "did you mean `pii`?")


def test_an_unknown_tool_is_only_a_warning_where_uncatalogued_tools_are_allowed() -> None:
    bundle = bundle_of(OPEN, CATALOG, policy("{id: a, on: {tool: payments.tranfser}, then: deny}"))
    assert [warning.hint for warning in bundle.warnings] == ["did you mean `payments.transfer`?"]


def test_one_thing_is_defined_once() -> None:
    twice = policy("{id: a, then: deny}", "{id: a, then: allow}")
    assert [error.code for error in errors_of(twice)] == ["duplicate_id"]
    across = policy("{id: a, then: deny}")
    (error,) = errors_of(across, across)
    assert error.message == "rule `p/a` is already defined at 0.yaml:4"
    entry = "kind: Catalog\ntools: {vague: {}}\nsystems: {crm: {}}\n"
    assert [error.message for error in errors_of(CATALOG, entry)] == [
        "`vague` is already in the catalog (0.yaml)",
        "`crm` is already in the catalog (0.yaml)",
    ]
    both = "kind: Catalog\ntools: {x: {}}\nresources: {tool: {x: {}}}\n"
    assert [error.code for error in errors_of(both)] == ["duplicate_entry"]
    controls = "kind: Controls\nname: c\ncontrols: {gdpr/32: {title: Security}}\n"
    assert [error.code for error in errors_of(controls, controls)] == ["duplicate_id", "duplicate_id"]


def test_an_unknown_control_is_a_warning_once_controls_are_listed() -> None:
    rule = policy("{id: a, then: deny, controls: [gdpr/23]}")
    assert bundle_of(rule).warnings == ()
    controls = "kind: Controls\nname: gdpr\ncontrols: {gdpr/32: {title: Security of processing}}\n"
    (warning,) = bundle_of(rule, controls).warnings
    assert (warning.message, warning.hint) == (
        "unknown control `gdpr/23` in rule `p/a`",
        "did you mean `gdpr/32`?",
    )


def test_a_bundle_takes_its_name_and_defaults_from_its_document_or_goes_without() -> None:
    plain = bundle_of(policy())
    assert (plain.name, plain.default, plain.uncatalogued) == ("p", Effect.DENY, Effect.DENY)
    told = bundle_of(policy(), "kind: Bundle\nname: b\ndefault: allow\nuncatalogued: allow\n")
    assert (told.name, told.default, told.uncatalogued) == ("b", Effect.ALLOW, Effect.ALLOW)
    assert bundle_of("kind: Catalog\n").name == "bundle"


def test_atoms_are_shared_and_defines_are_atoms() -> None:
    bundle = bundle_of(
        CATALOG,
        policy(
            "{id: a, on: {tool: [vague, mail.send]}, when: 'args.to == \"x\"', then: deny}",
            "{id: b, on: {tool: [mail.send, vague, vague]}, when: ' args.to == \"x\" ', then: allow}",
            head="define:\n  sends: {on: {effect: send}}\n"
            "  same: {on: {tool: [vague, mail.send]}, when: 'args.to == \"x\"'}\n",
        ),
    )
    assert bundle.atoms == (
        Atom(on=(("tool", ("mail.send", "vague")),), when='args.to == "x"'),
        Atom(on=(("effect", ("send",)),), when=None),
    )
    assert bundle.defines == {("p", "same"): 0, ("p", "sends"): 1}
    assert [(rule.name, rule.atom) for rule in bundle.rules] == [("p/a", 0), ("p/b", 0)]


def test_a_mistake_in_a_define_is_found_too() -> None:
    text = policy(head="define: {sends: {on: {tool: mail.sned}, when: 'args.to >'}}\n")
    assert [error.code for error in errors_of(text, CATALOG)] == ["unknown_tool", "invalid_condition"]


PARTS = (
    CATALOG,
    policy("{id: b, on: {tool: [vague, mail.send]}, then: deny}", "{id: a, then: allow, because: so}"),
    "kind: Policy\nname: a\nrules: [{id: x, then: deny, when: args.n > 1}]\n",
    "kind: Controls\nname: c\ncontrols: {c/1: {title: one}}\n",
)


def test_the_digest_names_the_meaning_and_not_the_files() -> None:
    bundle = bundle_of(*PARTS)
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", bundle.digest)
    for order in itertools.permutations(PARTS):
        other = bundle_of(*order)
        assert (other.digest, other.atoms, other.rules) == (bundle.digest, bundle.atoms, bundle.rules)
    assert bundle_of("\n---\n".join(PARTS)).digest == bundle.digest
    relaid = (
        "# a comment\nkind: Policy\nname: p\nrules:\n"
        "  - {id: a, because: so, then: allow}\n  - id: b\n    then: deny\n    on:\n      tool: [mail.send, vague]\n"
    )
    assert bundle_of(PARTS[0], relaid, *PARTS[2:]).digest == bundle.digest
    story = "kind: Test\nname: t\nsessions: {s: {agent: bot}}\ncases: []\n"
    assert bundle_of(*PARTS, story).digest == bundle.digest


@pytest.mark.parametrize(
    ("part", "old", "new"),
    [
        (1, "then: deny", "then: allow"),
        (1, "because: so", "because: thus"),
        (1, "id: a,", "id: c,"),
        (1, "name: p", "name: q"),
        (1, "[vague, mail.send]", "vague"),
        (2, "args.n > 1", "args.n > 2"),
        (2, "when: args.n > 1", "controls: [x]"),
        (0, "data: [pii]", "data: []"),
        (0, "args: {}", "description: x"),
        (0, "jurisdiction: EU", "jurisdiction: CH"),
        (0, "/body: untrusted", "/body: identifiers"),
        (0, "role: destination", "role: target"),
        (3, "title: one", "title: two"),
    ],
)
def test_whatever_matters_changes_the_digest(part: int, old: str, new: str) -> None:
    assert old in PARTS[part]
    changed = [text.replace(old, new, 1) if n == part else text for n, text in enumerate(PARTS)]
    assert bundle_of(*changed).digest != bundle_of(*PARTS).digest


@pytest.mark.parametrize(
    ("part", "old", "new"),
    [
        (1, "then: deny}", "then: deny, because: ''}"),
        (1, "then: deny}", "then: deny, controls: []}"),
        (1, "{id: a,", "{id: a, on: {},"),
        (1, "name: p\n", "name: p\ndescription: ''\n"),
        (1, "name: p\n", "name: p\ndefine: {}\n"),
        (0, "role: destination}", "role: destination, required: false}"),
        (0, "body: {}", "body: {type: any}"),
        (0, "jurisdiction: EU", "jurisdiction: EU, description: ''"),
        (3, "name: c\n", "name: c\ntitle: ''\n"),
        (3, "title: one", "title: one, text: ''"),
        (4, "name: b\n", "name: b\ndefault: deny\nuncatalogued: deny\ndescription: ''\n"),
    ],
)
def test_a_default_that_is_written_out_changes_no_digest(part: int, old: str, new: str) -> None:
    parts = (*PARTS, "kind: Bundle\nname: b\n")
    assert old in parts[part]
    changed = [text.replace(old, new, 1) if n == part else text for n, text in enumerate(parts)]
    assert bundle_of(*changed).digest == bundle_of(*parts).digest


@pytest.mark.parametrize("entry", ["{data: []}", "{effects: []}", "{actions: []}", "{args: {}}"])
def test_known_to_be_none_is_not_the_default(entry: str) -> None:
    head = "kind: Catalog\ntools:\n  x: "
    assert bundle_of(f"{head}{entry}\n").digest != bundle_of(f"{head}{{}}\n").digest


class LaterRule(RuleDocument):
    mode: Text = "enforce"


def test_a_key_that_a_later_version_adds_changes_no_digest_until_it_is_used() -> None:
    def digest(rule: RuleDocument) -> str:
        documents = load_documents([Source(name="f", text=policy("{id: a, then: deny}"))])
        (located,) = documents.policies
        later = PolicyDocument.model_construct(kind="Policy", name="p", rules=[rule])
        return digest_of(
            DocumentSet(
                sources=documents.sources,
                policies=(Located(document=later, source=located.source, root=located.root),),
            )
        )

    today = digest(RuleDocument(id="a", then="deny"))
    assert today == bundle_of(policy("{id: a, then: deny}")).digest
    assert digest(LaterRule(id="a", then="deny")) == today
    assert digest(LaterRule(id="a", then="deny", mode="enforce")) == today
    assert digest(LaterRule(id="a", then="deny", mode="monitor")) != today


STORED = """\
kind: Bundle
name: stored
---
kind: Catalog
tools: {mail.send: {effects: [send], data: [], args: {to: {type: email, required: true}, body: {}}, returns: trusted}}
systems: {mail: {jurisdiction: EU}}
data: {pii: {}}
---
kind: Policy
name: p
define: {sends: {on: {effect: send}}}
rules:
  - {id: everyday, on: {agent: [b, a]}, then: allow}
  - {id: none-to-x, when: args.to == "x", then: deny, because: so, controls: [c/1]}
---
kind: Controls
name: c
controls: {c/1: {title: one}}
"""


def test_the_digests_of_stored_bundles_stay_what_they_are() -> None:
    """A digest that changes here orphans every stored bundle: mend the normal form, or raise ENGINE_VERSION."""
    assert (
        bundle_of(STORED).digest == "sha256:385bf83aeedb40213ef3187c2653c376590915a649038c8111dc0fb5ff3b6442"
    )


@pytest.mark.parametrize(
    ("texts", "warning"),
    [
        ([CATALOG], "0.yaml:1:1: the bundle has no rule: nothing would ever be allowed"),
        ([CATALOG, policy()], "1.yaml:1:1: the bundle has no rule: nothing would ever be allowed"),
        ([f"# p\n{policy()}"], "0.yaml:2:1: the bundle has no rule: nothing would ever be allowed"),
        (
            ["kind: Bundle\nname: b\ndefault: allow\n"],
            "0.yaml:1:1: the bundle has no rule: no rule would ever deny",
        ),
        (["# nothing\n"], "0.yaml:1:1: the bundle has no rule: nothing would ever be allowed"),
        ([], "bundle:1:1: the bundle has no rule: nothing would ever be allowed"),
    ],
)
def test_a_bundle_without_a_rule_is_warned_of(texts: list[str], warning: str) -> None:
    found = bundle_of(*texts).warnings
    assert [(str(one), one.code) for one in found] == [(warning, "no_rules")]


def test_a_bundle_with_a_rule_is_not_warned_of() -> None:
    assert bundle_of(*PARTS).warnings == ()


def test_sources_compile_as_they_travel() -> None:
    sources = [(f"{n}.yaml", text) for n, text in enumerate(PARTS)]
    bundle = compile_sources(sources)
    assert bundle.digest == bundle_of(*PARTS).digest
    assert [(source.name, source.text) for source in bundle.sources] == sources
    with pytest.raises(PolicyErrors, match=r"^x\.yaml:1:7: unknown kind"):
        compile_sources([("x.yaml", "kind: Polic\n")])


def test_a_bundle_compiles_again_from_its_own_sources() -> None:
    documents = load_documents([Source(name="f", text="\n---\n".join(PARTS))])
    bundle = compile_bundle(documents)
    again = compile_bundle(load_documents(bundle.sources))
    assert (again.digest, again.atoms, again.rules) == (bundle.digest, bundle.atoms, bundle.rules)


@pytest.mark.parametrize(
    ("above", "message"),
    [
        ("true", "expected a number, found `true`"),
        ("[1]", "expected a number, found a list"),
        ("{}", "expected a number, found a mapping"),
        ("many", "`many` is not a number in rule `p/x`"),
    ],
)
def test_a_threshold_that_is_no_number_is_one_error(above: str, message: str) -> None:
    limit = f"{{count: actions, above: {above}}}"
    with pytest.raises(PolicyErrors) as refused:
        compile_sources([("p", f"kind: Policy\nname: p\nrules: [{{id: x, limit: {limit}, then: deny}}]")])
    assert [one.message for one in refused.value.errors] == [message]
