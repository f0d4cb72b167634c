"""A narrowed grant never permits what its parents' do not, whatever the globs, names and depths."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from policies.delegation import Grant, Refusal, covers, narrow
from policies.glob_sets import GlobSet
from policies.globs import Glob

_NAMES = st.text("ab.", max_size=7)
_GLOBS = st.lists(st.sampled_from(["a", "b", ".", "*", "**", "a.", ".b"]), max_size=6).map("".join)
_TOOLS = st.none() | st.lists(_GLOBS, max_size=3).map(tuple)
_GRANTS = st.builds(Grant, tools=_TOOLS, expires_us=st.integers(0, 6), depth=st.integers(0, 5))


@given(_GLOBS, _NAMES)
@settings(max_examples=2000)
def test_a_set_of_one_glob_is_that_glob(pattern: str, name: str) -> None:
    assert GlobSet([pattern]).matches(name) == Glob(pattern).matches(name)


@given(st.lists(_GLOBS, max_size=4), _NAMES)
def test_a_set_is_the_union_of_its_globs(patterns: list[str], name: str) -> None:
    assert GlobSet(patterns).matches(name) == any(Glob(pattern).matches(name) for pattern in patterns)


@given(st.lists(_GLOBS, max_size=3), _GLOBS, st.data())
@settings(max_examples=2000)
def test_what_fits_a_contained_glob_fits_the_set(outer: list[str], inner: str, data: st.DataObject) -> None:
    if not GlobSet(outer).contains(inner):
        return
    # A name that fits the inner glob, made from it.
    parts = inner.replace("**", "\0").replace("\0*", "\0").split("\0")
    pieces = []
    for part in parts:
        filled = "".join(
            data.draw(st.text("ab", max_size=3)) if character == "*" else character for character in part
        )
        pieces.append(filled)
    name = pieces[0] + "".join(data.draw(_NAMES) + piece for piece in pieces[1:])
    if Glob(inner).matches(name):
        assert GlobSet(outer).matches(name)


@given(_GLOBS)
def test_every_glob_contains_itself(glob: str) -> None:
    assert GlobSet([glob]).contains(glob)


@given(st.lists(_GRANTS, max_size=3).map(tuple), _GRANTS, st.sampled_from(["tool", "todo"]), _NAMES)
@settings(max_examples=2000)
def test_a_narrowed_grant_permits_nothing_that_its_chain_does_not(
    chain: tuple[Grant, ...], asked: Grant, resource_type: str, name: str
) -> None:
    given_ = narrow(chain, asked, now_us=1)
    if isinstance(given_, Refusal):
        return
    for now_us in range(7):
        permitted = covers((*chain, given_), resource_type, name, now_us=now_us) is None
        above = covers(chain, resource_type, name, now_us=now_us) is None
        assert above or not permitted
        if given_.tools is not None and covers((given_,), resource_type, name, now_us=now_us) is None:
            # Even by itself: what a token says to hold is within what its parent holds.
            assert above
    assert all(given_.depth < grant.depth for grant in chain)


@given(st.lists(_GRANTS, min_size=1, max_size=6), _NAMES)
def test_a_chain_made_by_narrowing_alone_only_shrinks(asked: list[Grant], name: str) -> None:
    chain: tuple[Grant, ...] = ()
    for one in asked:
        given_ = narrow(chain, one, now_us=1)
        if isinstance(given_, Refusal):
            continue
        longer = (*chain, given_)
        if covers(longer, "tool", name, now_us=2) is None:
            assert covers(chain, "tool", name, now_us=2) is None
        chain = longer
    assert len(chain) <= 16
