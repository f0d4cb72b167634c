"""The benchmark of the past measures what it says: twenty rules, verdicts as named, bounds that hold, fair traces."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.past import hostile, owners, report, rules, sizes, verdicts
from benchmarks.past.deciding import Decider, copied
from benchmarks.past.peers import comparison, work
from benchmarks.past.peers.ours import Ours
from policies.compile import compile_sources
from policies.past import state_bytes

LENGTHS = (1, 50)


@pytest.mark.parametrize("kind", rules.KINDS)
def test_there_are_twenty_rules_beside_the_permission(kind: str) -> None:
    bundle = compile_sources(rules.sources_of(kind))
    assert len(bundle.rules) == rules.RULES + 1
    assert sum(rule.past is not None or rule.limit is not None for rule in bundle.rules) == rules.RULES


def test_verdicts_are_what_the_kind_says_and_the_same_after_any_past() -> None:
    measured = verdicts.measure(lengths=LENGTHS, rounds=1)
    said = {kind: set(found) for kind, found in measured["verdicts"].items()}
    assert said == {
        rules.MIXED: {"allow: 1 rules", "deny: 3 rules"},
        rules.FORMULAS: {"deny: 20 rules"},
        rules.NONE_HOLDS: {"allow: 1 rules"},
        rules.ALL_HOLD: {"deny: 20 rules"},
        rules.WATCHED: {"allow: 21 rules"},
    }
    headlines = verdicts.headlines(measured)
    assert headlines["past_20_rules_p50_us"] == max(measured["p50_us"][rules.MIXED].values())
    assert headlines["past_20_rules_worst_p50_us"] >= headlines["past_20_rules_p50_us"]
    assert headlines["past_history_ratio"] > 0


def test_deciding_on_a_copy_leaves_the_past_as_it_was() -> None:
    decider = Decider(rules.sources_of(rules.NONE_HOLDS), [])
    pasts = decider.lived(20)
    before = {scope: state_bytes.encode(past) for scope, past in pasts.items()}
    own = copied(pasts)
    decider.decide(own, rules.action(*rules.payment(3), now_us=rules.START_US + 10**12))
    assert {scope: state_bytes.encode(past) for scope, past in pasts.items()} == before
    assert {scope: state_bytes.encode(past) for scope, past in own.items()} != before


def test_an_idle_session_is_within_its_budget_with_every_formula_touched() -> None:
    measured = sizes.measure()
    headlines = sizes.headlines(measured)
    assert headlines["past_bytes_per_idle_session"] <= headlines["past_bytes_per_idle_session_budget"]
    bundle = compile_sources(rules.sources(rules.monitor_clauses()))
    assert len(bundle.program.monitors) == rules.RULES
    assert measured[rules.MIXED]["keys"] > 0 and measured[rules.MIXED]["in_memory"] > 0


def test_keys_without_end_meet_the_bound_and_count_as_matched_from_there() -> None:
    measured = hostile.measure_keys(keys=5_000, most_s=60)
    assert measured["keys"] == 5_000
    assert measured["kept_at_most"] == measured["bound"] == 2_000
    assert measured["treated_as_matched"] == 4_000


def test_hostile_formulas_are_refused() -> None:
    found = hostile.measure_formulas()
    assert {one["code"] for one in found.values()} <= {"invalid", "invalid_formula"}


def test_an_owner_decides_what_is_asked_with_and_without_the_rules(tmp_path: Path) -> None:
    for name, sources in (("plain", rules.plain_sources()), ("mixed", rules.sources_of(rules.MIXED))):
        bench = owners.OwnerBench(tmp_path, name, sources, agents=3)
        assert bench.batch_us(0) > 0
        assert bench.owner.journal.read("SELECT count(*) FROM decided")[0][0] == owners.BATCH
        bench.owner.journal.close()


@pytest.mark.parametrize("rule", work.RULES)
@pytest.mark.parametrize("events", [1, 3, 4, 30])
def test_our_engine_does_with_a_trace_what_the_rule_says(rule: str, events: int) -> None:
    _, _, allowed = work.trace(rule, events)
    found = work.measure(Ours, rule, events, decisions=2, most_s=60)
    assert found["allowed"] == [allowed, allowed] and len(found["us"]) == 2
    assert allowed is (rule == work.COUNT and events < 4)


def test_where_the_others_are_not_installed_the_table_says_so(tmp_path: Path) -> None:
    compared = comparison.compare(tmp_path, rounds=1)
    assert compared["absent"] == list(comparison.WORKERS)
    assert set(compared["p50_us"]) == {comparison.OURS}
    measured = {
        "verdicts": verdicts.measure(lengths=LENGTHS, rounds=1),
        "state_bytes": sizes.measure(),
        "owner_cpu_us": {owners.PLAIN: 1.0},
        "keys": hostile.measure_keys(keys=100, most_s=60),
        "formulas": {"brackets": {"code": "invalid_formula", "ms": 1.0}},
        "peers": compared,
    }
    measured |= verdicts.headlines(measured["verdicts"]) | sizes.headlines(measured["state_bytes"])
    console = Console(record=True, width=200, file=(tmp_path / "out").open("w"))
    for table in report.tables(measured):
        console.print(table)
    shown = console.export_text()
    assert "not installed: dogwood-py 0.0.12, invariant-ai 0.3.5; run with --peers" in shown
    assert "20 rules" in shown and "brackets" in shown


def test_the_versions_of_the_others_are_those_that_are_installed() -> None:
    requirements = Path(comparison.__file__).with_name("requirements.txt").read_text().split()
    assert [one.replace("==", " ") for one in requirements] == list(comparison.WORKERS)
