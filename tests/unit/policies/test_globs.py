from __future__ import annotations

import pytest

from policies.globs import Glob


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("mail.*", "mail.send", True),
        ("mail.*", "mail.send.now", False),
        ("mail.**", "mail.send.now", True),
        ("mail.**", "mail", False),
        ("*", "mail", True),
        ("*", "mail.send", False),
        ("**", "mail.send", True),
        ("*.send", "mail.send", True),
        ("*.send", "a.mail.send", False),
        ("**.send", "a.mail.send", True),
        ("m*l.send", "mail.send", True),
        ("Mail.*", "mail.send", False),
        ("a+b", "aab", False),
        ("a?c", "abc", False),
        ("file:*", "file:/etc/passwd", True),
        ("mail.*", "mail.send\n", True),
        ("mail.send", "mail.send\n", False),
    ],
)
def test_a_star_stops_at_a_dot_and_two_do_not(pattern: str, name: str, expected: bool) -> None:
    assert Glob(pattern).matches(name) is expected
