"""Grants narrow from parent to child, and a chain of them is asked as a whole."""

from __future__ import annotations

import pytest

from policies.delegation import MAX_DEPTH, Grant, Refusal, covers, narrow
from policies.glob_sets import GlobSet

NOW_US = 1_000_000
LATER_US = 9_000_000


def grant(*tools: str, expires_us: int = LATER_US, depth: int = 0, all_tools: bool = False) -> Grant:
    return Grant(tools=None if all_tools else tools, expires_us=expires_us, depth=depth)


@pytest.mark.parametrize(
    ("outer", "inner", "contained"),
    [
        ("mail.*", "mail.send", True),
        ("mail.*", "mail.*", True),
        ("mail.*", "mail.s*", True),
        ("mail.*", "mail.*.now", False),
        ("mail.*", "mail.**", False),
        ("mail.**", "mail.*", True),
        ("mail.**", "mail.**.now", True),
        ("**", "**", True),
        ("**", "mail.*", True),
        ("*", "**", False),
        ("*", "mail.send", False),
        ("mail.send", "mail.*", False),
        ("mail.send", "mail.send", True),
        ("*a*", "a*a", True),
        ("a*a", "*a*", False),
        ("*.send", "*.**", False),
        ("**.send", "*.*.send", True),
        ("m*", "*", False),
        ("mail.*", "Mail.*", False),
    ],
)
def test_a_glob_contains_what_can_only_be_narrower(outer: str, inner: str, contained: bool) -> None:
    assert GlobSet([outer]).contains(inner) is contained


def test_a_set_contains_what_one_of_its_patterns_contains_and_an_empty_one_nothing() -> None:
    both = GlobSet(["crm.*", "mail.send"])
    assert both.contains("crm.read") and both.contains("mail.send") and not both.contains("mail.*")
    assert not GlobSet([]).matches("mail.send") and not GlobSet([]).contains("**")


def test_a_hostile_pattern_and_name_cost_no_more_than_others() -> None:
    hostile = GlobSet(["**a**a**a**a**b", *(f"{n}**a**a**b" for n in range(50))])
    assert not hostile.matches("a" * 256)
    assert not hostile.contains("**a" * 80)


def test_a_session_that_began_a_workflow_gives_what_is_asked() -> None:
    asked = grant("mail.*", depth=3)
    assert narrow((), asked, now_us=NOW_US) == asked


def test_a_grant_ends_with_the_first_of_its_chain() -> None:
    chain = (grant(all_tools=True, depth=2, expires_us=5_000_000), grant(all_tools=True, depth=1))
    given = narrow(chain, grant("mail.*"), now_us=NOW_US)
    assert isinstance(given, Grant) and given.expires_us == 5_000_000
    assert narrow(chain, grant("mail.*"), now_us=5_000_000) == Refusal(
        code="delegation_expired",
        message="what this session was itself delegated has expired, or is about to",
    )


@pytest.mark.parametrize(
    ("chain", "depth", "code"),
    [
        ((), MAX_DEPTH - 1, None),
        ((), MAX_DEPTH, "delegation_too_deep"),
        ((grant(all_tools=True, depth=2),), 1, None),
        ((grant(all_tools=True, depth=2),), 2, "delegation_too_deep"),
        ((grant(all_tools=True, depth=0),), 0, "delegation_too_deep"),
        ((), -1, "delegation_too_deep"),
    ],
)
def test_each_level_has_one_less_left_than_the_one_above(
    chain: tuple[Grant, ...], depth: int, code: str | None
) -> None:
    given = narrow(chain, grant("mail.*", depth=depth), now_us=NOW_US)
    assert (given.code if isinstance(given, Refusal) else None) == code


def test_tools_beyond_any_grant_of_the_chain_are_refused_by_name() -> None:
    chain = (grant("crm.*", "mail.*", depth=2), grant(all_tools=True, depth=1))
    assert isinstance(narrow(chain, grant("mail.send", "crm.*"), now_us=NOW_US), Grant)
    refused = narrow(chain, grant("mail.send", "pay.*"), now_us=NOW_US)
    assert refused == Refusal(
        code="outside_delegation",
        message="`pay.*` is more than this session was itself delegated: `crm.*`, `mail.*`",
    )
    # Left out: nothing is narrowed here, and the chain is asked all the same.
    unlisted = narrow(chain, grant(all_tools=True), now_us=NOW_US)
    assert isinstance(unlisted, Grant)
    assert covers((*chain, unlisted), "tool", "pay.now", now_us=NOW_US) == "outside_delegation"


@pytest.mark.parametrize(
    ("resource", "now_us", "code"),
    [
        (("tool", "mail.send"), NOW_US, None),
        (("tool", "mail.read"), NOW_US, "outside_delegation"),
        (("tool", "crm.read"), NOW_US, "outside_delegation"),
        (("tool", "mail.*"), NOW_US, "outside_delegation"),
        (("todo", "mail.send"), NOW_US, "outside_delegation"),
        (("tool", "mail.send"), LATER_US, "delegation_expired"),
    ],
)
def test_an_action_must_be_covered_by_every_grant(
    resource: tuple[str, str], now_us: int, code: str | None
) -> None:
    chain = (grant("mail.*", depth=1), grant("mail.send", "crm.*"))
    assert covers(chain, *resource, now_us=now_us) == code


def test_grants_without_a_list_cover_every_resource_until_they_expire() -> None:
    assert covers((grant(all_tools=True),), "todo", "x", now_us=NOW_US) is None
    assert covers((), "todo", "x", now_us=NOW_US) is None
    assert covers((grant(all_tools=True),), "todo", "x", now_us=LATER_US) == "delegation_expired"
