"""docs/policies.md is executed: every example loads, compiles without a warning, and passes its own tests."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from policies.catalog import ARGUMENT_ROLES, ARGUMENT_TYPES, EFFECTS
from policies.cel import VARIABLES
from policies.compile import compile_bundle
from policies.documents import LATER_KEYS, RuleDocument
from policies.error import Source
from policies.index import KEYS
from policies.loader import load_documents
from policies.stories import run_stories

PAGE = (Path(__file__).parents[3] / "docs" / "policies.md").read_text()
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda text: text.splitlines()[1])
def test_each_example_is_a_bundle_whose_tests_pass_and_reach_every_rule(example: str) -> None:
    documents = load_documents([Source(name="policies.md", text=example)])
    bundle = compile_bundle(documents)
    assert bundle.warnings == ()
    report = run_stories(bundle, documents.tests)
    assert report.cases
    assert report.failures == ()
    assert report.never_matched == ()


@pytest.mark.parametrize(
    "names",
    [KEYS, tuple(VARIABLES), tuple(EFFECTS), ARGUMENT_TYPES, ARGUMENT_ROLES, tuple(LATER_KEYS[RuleDocument])],
    ids=["on", "cel", "effects", "types", "roles", "later"],
)
def test_every_name_of_the_language_stands_in_the_reference(names: tuple[str, ...]) -> None:
    assert [name for name in names if f"`{name}`" not in PAGE] == []
