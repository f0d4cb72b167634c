"""Canonical values of anything: there is always one, and it is its own."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from policies.canonical_values import canonical
from policies.catalog import ARGUMENT_TYPES


@given(st.sampled_from(ARGUMENT_TYPES), st.text() | st.floats() | st.integers() | st.lists(st.text()))
def test_every_value_has_a_form_in_every_type(type_: str, value: object) -> None:
    assert canonical(value, type_)


@given(
    st.sampled_from(["https://", "http://a", "//", "x:", ""]),
    st.text(st.sampled_from("aB/.:@[]?#%2F\\&= é"), max_size=20),
)
def test_the_form_of_a_url_is_its_own_form(start: str, rest: str) -> None:
    form = canonical(start + rest, "url")
    assert form is not None and form[:1] == b"s"
    again = canonical(form[1:].decode(), "url")
    assert canonical((again or b"")[1:].decode(), "url") == again


@given(st.integers(1, 10**15 - 2) | st.integers(-(10**15) + 2, -2), st.integers(-30, 30), st.integers(0, 5))
def test_a_number_has_one_form_however_it_is_written(digits: int, exponent: int, zeros: int) -> None:
    plain = canonical(f"{digits}e{exponent}", "decimal")
    assert plain == canonical(f"{digits}{'0' * zeros}E{exponent - zeros}", "decimal")
    assert plain == canonical(f"{digits}.{'0' * (zeros + 1)}e{exponent:+d}", "number")
    assert plain != canonical(f"{digits + 1}e{exponent}", "decimal")
    assert plain == canonical(float(f"{digits}e{exponent}"))
