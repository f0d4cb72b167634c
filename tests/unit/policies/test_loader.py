from __future__ import annotations

import pickle

import pytest
from unit.policies.policy_texts import CATALOG, errors_of, policy

from policies.documents import LATER_KEYS, RuleDocument
from policies.error import PolicyErrors, Source
from policies.loader import load_documents

STORY = "kind: Test\nname: t\nsessions: {s: {agent: bot%s}}\ncases:\n  - name: c\n    steps:\n      - %s\n"


@pytest.mark.parametrize(
    ("text", "place", "code", "hint"),
    [
        (policy("{id: a, them: allow}"), (4, 5), "missing_key", ""),
        (policy("{id: a, them: allow, then: deny}"), (4, 13), "unknown_key", "did you mean `then`?"),
        (policy("{id: a, on: {agnt: x}, then: deny}"), (4, 18), "unknown_key", "did you mean `agent`?"),
        (policy("{id: a, then: alow}"), (4, 19), "unknown_value", "did you mean `allow`?"),
        (policy("{id: a b, then: deny}"), (4, 10), "invalid_name",
         "a name has letters, digits, `.`, `_` and `-`, and begins with a letter or digit"),
        (policy("{id: 7, then: deny}"), (4, 10), "wrong_type", "quote it"),
        (policy("{id: a, on: x, then: deny}"), (4, 17), "wrong_type", "write `on: {tool: …}`"),
        (policy("{id: a, approve: role:x, then: escalate}"), (4, 22), "wrong_type",
         "its keys are `by`, `quorum`, `expires`, `then_to`, `exclude`, `remember`"),
        (policy("{id: a, approve: {by: x, quorum: two}, then: escalate}"), (4, 38), "wrong_type", ""),
        (policy("{id: a, on: {tool: []}, then: deny}"), (4, 24), "invalid", ""),
        (policy("{id: a, on: {tool: x, asked: no}, then: deny}"), (4, 27), "unknown_key",
         "`asked` is a key of the rule: write it beside `on`, not in it"),
        (policy("{id: a, origin: {roles: [target], is: [mixed], then: deny}}"), (4, 52), "unknown_key",
         "`then` is a key of the rule: write it beside `origin`, not in it"),
        (policy("{id: a, origin: {role: target, is: mixed}, then: deny}"), (4, 22), "unknown_key",
         "did you mean `roles`?"),
        (policy("{id: a, origin: {roles: target, is: [mixt]}, then: deny}"), (4, 42), "unknown_value",
         "did you mean `mixed`?"),
        (policy("{id: a, origin: {roles: target, is: [stranger]}, then: deny}"), (4, 42), "unknown_value",
         "one of `trusted`, `derived`, `mixed`, `unknown`, `untrusted`"),
        (policy("{id: a, origin: untrusted, then: deny}"), (4, 21), "wrong_type", "its keys are `roles`, `args`, `is`"),
        (policy("{id: a, origin: {args: args.to, is: mixed}, then: deny}"), (4, 28), "invalid_pointer",
         "did you mean `/to`?"),
        (policy("{id: a, origin: {args: ['$'], is: mixed}, then: deny}"), (4, 29), "invalid_pointer",
         "write `/name`, or `/name/inner`"),
        (policy("{id: a, asked: false, then: deny}"), (4, 20), "unknown_value", "one of `yes`, `no`, `unknown`"),
        (policy("{id: a, on: {effect: $what}, then: deny}"), (4, 26), "invalid_name",
         "declare it, if it is meant as a parameter: `parameters: {…}` beside `rules`"),
        (policy(head="define: {x: {origin: {roles: target, is: mixed}}}\n"), (3, 14), "unknown_key",
         "`origin` is a clause of a rule, beside its `past`: an atom has `on` and `when` alone"),
        (policy("{id: a, on: {tool: 'a*b*c*d*e*f'}, then: deny}"), (4, 24), "too_many_wildcards", ""),
        (policy("deny"), (4, 4 + 1), "wrong_type", ""),
        (policy("{id: a, permitted_is_done: no, then: deny}"), (4, 32), "wrong_type", "write `false`"),
        (policy("{id: a, permitted_is_done: 'Yes', then: deny}"), (4, 32), "wrong_type", "write `true`"),
        (policy("{id: a, permitted_is_done: 1, then: deny}"), (4, 32), "wrong_type", ""),
        (policy("{id: a, permitted_is_done: [no], then: deny}"), (4, 32), "wrong_type", ""),
        (policy("{id: a, limit: {count: actions, per: hour, above: 1}, then: deny}"), (4, 42), "invalid_name",
         "write a whole number and s, m, h or d, such as `24h`"),
        (policy("{id: a, limit: {count: actions, per: 24, above: 1}, then: deny}"), (4, 42), "wrong_type",
         "write a whole number and s, m, h or d, such as `24h`"),
        (policy("{id: a, past: x, by: args.to, then: deny}"), (4, 26), "wrong_type",
         "give each atom its key: `by: {name: args.…}`"),
        (policy("{id: a, tool: x, then: deny}"), (4, 13), "unknown_key",
         "`tool` is a key of `on`: write `on: {tool: …}`, or indent it further"),
        ("kind: Policy\nname: p\ndefine:\n  x: {when: 'true'}\n  rules: []\n", (5, 10), "wrong_type",
         "to be a key beside `define`, `rules` begins in the same column"),
        (policy(head="define: {x: {}}\n"), (3, 13), "empty_define", ""),
        (policy(head="define: {X y: {when: 'true'}}\n"), (3, 10), "invalid_name",
         "an atom's name has small letters, digits and `_`, and begins with a letter"),
        ("kind: Polic\n", (1, 7), "unknown_kind", "did you mean `Policy`?"),
        ("name: x\n", (1, 1), "missing_kind", "one of `Policy`, `Catalog`, `Bundle`, `Controls`, `Test`"),
        ("- a\n", (1, 1), "not_a_document", ""),
        ("kind: Bundle\nname: b\ndefault: maybe\n", (3, 10), "unknown_value", "one of `allow`, `deny`"),
        ("kind: Bundle\nname: b\n---\nkind: Bundle\nname: c\n", (4, 1), "second_bundle", ""),
        ("kind: Bundle\nname: b\nkind: Bundle\n", (3, 1), "duplicate_key",
         "a line `---` stands between two documents"),
        ("kind: Bundle\nname: b\nname: c\n", (3, 1), "duplicate_key", ""),
        ("kind: Catalog\ntools: {x: {args: {a: string}}}\n", (2, 23), "wrong_type",
         "its keys are `type`, `role`, `required`, `description`"),
        (STORY % ("", "{session: s, tool: x, rules: p/a, expect: deny}"), (7, 38), "wrong_type", "write `[p/a]`"),
        ("kind: Catalog\ntools: {x: {effects: [raed]}}\n", (2, 23), "unknown_value", "did you mean `read`?"),
        ("kind: Catalog\ntools: {x: {returns: {sender: trusted, default: trusted}}}\n", (2, 23),
         "invalid_pointer", "did you mean `/sender`?"),
        ("kind: Catalog\ntools: {x: {returns: {'/all[*]/body': untrusted, default: trusted}}}\n", (2, 23),
         "invalid_pointer", "did you mean `/all/body`?"),
        ("kind: Catalog\ntools: {x: {returns: {'$.all[0].body': untrusted, default: trusted}}}\n", (2, 23),
         "invalid_pointer", "did you mean `/all/body`?"),
        ("kind: Catalog\ntools: {x: {returns: {/all/: trusted, default: untrusted}}}\n", (2, 23),
         "invalid_pointer", "did you mean `/all`?"),
        ("kind: Catalog\ntools: {x: {returns: {/sender: trusted}}}\n", (2, 22), "missing_key", ""),
        ("kind: Catalog\ntools: {x: {args: {a: {type: decimel}}}}\n", (2, 30), "unknown_value",
         "did you mean `decimal`?"),
        (STORY % ("", "{session: t, tool: x, expect: deny}"), (7, 19), "unknown_session",
         "name it under `sessions`"),
        (STORY % ("", "{session: s, expect: deny}"), (7, 9), "invalid_step", ""),
        (STORY % ("", "{session: s, resource: x, expect: deny}"), (7, 9), "missing_key", ""),
        (STORY % ("", "{session: s, tool: x, at: 1y, expect: deny}"), (7, 35), "invalid_name",
         "write a whole number and s, m, h or d, such as `24h`"),
        (STORY % ("", "{session: s, tool: x, at: 1h, expect: deny}\n      - "
                      "{session: s, tool: x, at: 1m, expect: deny}"), (8, 35), "clock_went_back", ""),
        (STORY % (", subject: 'user:x'", "{session: s, tool: x, expect: deny}"), (3, 15), "invalid_session", ""),
    ],
)  # fmt: skip
def test_an_error_names_its_place_and_what_was_probably_meant(
    text: str, place: tuple[int, int], code: str, hint: str
) -> None:
    error = next(error for error in errors_of(text) if error.code == code)
    assert (error.file, error.line, error.column, error.hint) == ("0.yaml", *place, hint)


@pytest.mark.parametrize(
    "text",
    [
        *(
            policy(f"{{id: a, then: deny, {key}: x}}")
            for key in sorted(LATER_KEYS[RuleDocument])
        ),
    ],
)  # fmt: skip
def test_what_a_later_version_enforces_is_refused_instead_of_ignored(text: str) -> None:
    (error,) = errors_of(text)
    assert error.code == "not_supported_yet"
    assert "not enforced by this version" in error.message


def test_all_errors_of_all_files_come_at_once_and_in_order() -> None:
    errors = errors_of(policy("{id: a, thn: deny}"), "a: [", policy("{id: b, then: dny}"))
    assert [(error.file, error.code) for error in errors] == [
        ("0.yaml", "missing_key"),
        ("0.yaml", "unknown_key"),
        ("1.yaml", "invalid_yaml"),
        ("2.yaml", "unknown_value"),
    ]
    assert str(errors[1]) == "0.yaml:4:13: unknown key `thn`; did you mean `then`?"


def test_policy_errors_survive_pickling() -> None:
    with pytest.raises(PolicyErrors) as refused:
        load_documents([Source(name="f", text="kind: x")])
    revived = pickle.loads(pickle.dumps(refused.value))
    assert revived.errors == refused.value.errors
    assert (str(revived), revived.code) == (str(refused.value), "invalid_bundle")


def test_documents_of_all_kinds_may_share_a_file() -> None:
    found = load_documents([Source(name="f", text=f"{CATALOG}---\n{policy()}---\nkind: Bundle\nname: b\n")])
    assert (len(found.catalogs), len(found.policies), found.tests) == (1, 1, ())
    assert found.bundle is not None and found.bundle.document.name == "b"
