"""The bank's policies: they compile, their stories hold, and they speak of tools and not of attacks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from policies.bundle import Bundle
from policies.compile import compile_bundle
from policies.error import Source
from policies.loader import DocumentSet, load_documents
from policies.stories import StoryReport, run_stories

POLICIES = Path("examples/banking/policies")
FILES = sorted((Path(__file__).parents[3] / POLICIES).glob("*.yaml"))


@pytest.fixture(scope="module")
def documents() -> DocumentSet:
    return load_documents([Source(name=str(POLICIES / file.name), text=file.read_text()) for file in FILES])


@pytest.fixture(scope="module")
def bundle(documents: DocumentSet) -> Bundle:
    return compile_bundle(documents)


@pytest.fixture(scope="module")
def report(documents: DocumentSet, bundle: Bundle) -> StoryReport:
    return run_stories(bundle, documents.tests)


def test_every_story_holds(report: StoryReport) -> None:
    assert report.cases
    assert report.failures == ()


def test_every_rule_is_reached_by_a_story(report: StoryReport) -> None:
    assert report.never_matched == ()


def test_the_bundle_compiles_without_a_warning(bundle: Bundle) -> None:
    assert bundle.warnings == ()


def test_the_catalog_holds_exactly_the_tools_that_the_agents_hold(bundle: Bundle) -> None:
    runs = pytest.importorskip("examples.banking.runs", reason="needs the extra `demo`")
    assert sorted(tool for _, tool in bundle.catalog.entries) == sorted(runs.BankingSuite().tools)


def test_the_catalog_lists_exactly_the_arguments_that_each_tool_takes_and_requires(bundle: Bundle) -> None:
    load_suites = pytest.importorskip("agentdojo.task_suite.load_suites", reason="needs the extra `demo`")
    for tool in load_suites.get_suite("v1.2.2", "banking").tools:
        facts = bundle.catalog.facts("tool", tool.name)
        assert facts is not None and facts.arguments is not None
        taken = {name: field.is_required() for name, field in tool.parameters.model_fields.items()}
        assert {name: one.required for name, one in facts.arguments.items()} == taken, tool.name


def test_no_policy_knows_an_account_or_a_phrase_of_an_attack(bundle: Bundle) -> None:
    load_suites = pytest.importorskip("agentdojo.task_suite.load_suites", reason="needs the extra `demo`")
    suite = load_suites.get_suite("v1.2.2", "banking")
    environment = suite.load_and_inject_default_environment({})
    attackers_values = {
        str(value)
        for attack in suite.injection_tasks.values()
        for call in attack.ground_truth(environment)
        for value in call.args.values()
        if isinstance(value, str)
    }
    text = "\n".join(file.read_text() for file in FILES)
    assert not [value for value in attackers_values if re.search(rf"\b{re.escape(value)}\b", text)]
