"""What it costs to know where values came from: reading results, merging them, judging arguments, state.

    python -m benchmarks.origin                    # half a minute
    python -m benchmarks.origin --json OUT.json    # written there as well

In this process, on one thread, in processor time, so that others on the machine disturb less: the least of several
rounds, as texts take turns within each. Starts nothing and listens nowhere.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from actors.collector import collect_seldom
from benchmarks import machine
from policies.origin import Fact, Origins, TokenHasher, Told, told_by_result, told_by_task, units_of

READ_BUDGET_MS = 5.0  # a text of 100 kB
JUDGED_BUDGET_US = 10.0  # an argument that is one value
MERGE_BUDGET_MS = 1.0
STATE_BUDGET_BYTES = 65_536
_HASHER = TokenHasher(b"the key of all replicas")
_KEY = b"the key of one workflow"
_SIZE = 100_000
_MAIL = {"default": "untrusted", "/sender": "identifiers", "/date": "trusted"}
_CALLS = 2_000


def _iban(number: int) -> str:
    """A different account for each number, with the check digits that belong to it."""
    account = f"37040044{number:010}"
    return f"DE{98 - int(account + '131400') % 97:02}{account}"


def _in_groups(account: str) -> str:
    return " ".join(account[place : place + 4] for place in range(0, len(account), 4))


def _letters(number: int) -> str:
    return "".join(chr(ord("a") + int(digit)) for digit in str(number))


# By kind, a value for each number: no two are spelled alike.
ARGUMENTS: Mapping[str, Callable[[int], str]] = {
    "e-mail address": lambda n: f"bob.jones{n}@example.org",
    "account": _iban,
    "account in groups": lambda n: _in_groups(_iban(n)),
    "URL": lambda n: f"https://www.example.org/a?b={n}",
    "one word": lambda n: f"general{_letters(n)}",
    "two words": lambda n: f"Alice{_letters(n)} Smith{_letters(n)}",
    "date and time": lambda n: f"{2000 + n % 200}-{n % 12 + 1:02}-{n % 28 + 1:02} {n % 24:02}:{n % 60:02}",
    "file name": lambda n: f"report_{_letters(n)}.pdf",
    "street address": lambda n: f"{n % 200} Main{_letters(n)} Street, Springfield{_letters(n)}",
}


def main() -> None:
    options = _options()
    console = Console(stderr=True)
    measured: dict[str, Any] = {"machine": machine.describe()}
    console.print(f"[bold]origins[/] on {measured['machine']['processor']}")
    collect_seldom()  # as replicas and owners do
    results = _results(random.Random(1))
    measured["read_ms"] = _read(results, rounds=options.rounds)
    measured |= _owner(results, rounds=options.rounds)
    measured["argument_us"] = _arguments(results["text"][0], rounds=options.rounds)
    measured |= {
        "origin_read_100kb_ms": measured["read_ms"]["text"],
        "origin_read_100kb_budget_ms": READ_BUDGET_MS,
        "origin_argument_budget_us": JUDGED_BUDGET_US,
        "origin_state_bytes": measured["state_bytes"],
        "origin_state_budget_bytes": STATE_BUDGET_BYTES,
    }
    for table in _tables(measured):
        Console().print(table)
    if options.json is not None:
        options.json.write_text(json.dumps(measured, indent=2) + "\n")
        console.print(f"written to {options.json}", highlight=False)


def _results(chance: random.Random) -> dict[str, tuple[Any, Mapping[str, str]]]:
    """100 kB each: what it is, and what its fields are worth."""
    words = [
        "".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(2, 10))) for _ in range(8_000)
    ]
    weights = [1 / (place + 5) for place in range(len(words))]  # words are as unequal as those of a language

    def text(size: int) -> str:
        parts: list[str] = []
        while sum(map(len, parts)) + len(parts) < size:
            sentence = chance.choices(words, weights, k=12)
            if chance.random() < 0.2:
                name = chance.choice(
                    ("a{}@example.org", "https://ex{}.example/p", "2024-05-{:02}", "{}.50", "user_{}")
                )
                sentence[5] = name.format(chance.randint(1, 28))
            parts.append(" ".join(sentence).capitalize() + ".")
        return " ".join(parts)[:size]

    names = [f"{' '.join(chance.choices(words, k=2))} {n}" for n in range(_SIZE // 17)]
    mails = [
        {
            "id": n,
            "sender": f"a{n}@example.org",
            "subject": text(30),
            "body": text(300),
            "date": "2024-05-15 10:00",
        }
        for n in range(_SIZE // 430)
    ]
    untrusted = {"default": "untrusted"}
    return {
        "text": (text(_SIZE), untrusted),
        "text of 10 kB": (text(10_000), untrusted),
        "mails, fields of different trust": (mails, _MAIL),
        "mails as JSON text": (json.dumps(mails), _MAIL),
        "names, identifiers": (names, {"default": "identifiers"}),
        "nothing twice (hexadecimal)": (
            " ".join(f"{chance.getrandbits(40):x}" for _ in range(9_000)),
            untrusted,
        ),
    }


def _told(result: Any, returns: Mapping[str, str]) -> Told:
    return told_by_result(result, returns, default="untrusted", hasher=_HASHER, complete=True)


def _read(results: Mapping[str, tuple[Any, Mapping[str, str]]], *, rounds: int) -> dict[str, float]:
    costs: dict[str, list[float]] = {name: [] for name in results}
    for _ in range(rounds):
        for name, (result, returns) in results.items():
            costs[name].append(_seconds(partial(_told, result, returns)))
    return {name: round(min(found) * 1e3, 2) for name, found in costs.items()}


def _owner(results: Mapping[str, tuple[Any, Mapping[str, str]]], *, rounds: int) -> dict[str, Any]:
    """Eleven results of 100 kB, more than a MiB, then one more merged into the full state; its bytes."""
    chance = random.Random(2)
    tolds = [_told(*_results(chance)["text"]) for _ in range(11)]
    merged: list[float] = []
    for _ in range(rounds):
        origins = Origins()
        origins.task(told_by_task("pay the March invoices of Alice Smith", _HASHER))
        for source, told in enumerate(tolds):
            last = _seconds(partial(origins.result, told, source=source, looked_up=Fact.TRUSTED))
        merged.append(last)
    data = origins.to_bytes(_KEY)
    return {
        "merge_ms": round(min(merged) * 1e3, 2),
        "to_bytes_ms": round(min(_seconds(lambda: origins.to_bytes(_KEY)) for _ in range(rounds)) * 1e3, 2),
        "from_bytes_ms": round(
            min(_seconds(lambda: Origins.from_bytes(data, _KEY)) for _ in range(rounds)) * 1e3, 2
        ),
        "state_bytes": len(data),
    }


def _arguments(text: str, *, rounds: int) -> dict[str, dict[str, float]]:
    origins = Origins()
    origins.result(_told(text, {}), source=1, looked_up=Fact.TRUSTED)
    kinds: dict[str, Callable[[int], str]] = {**ARGUMENTS, "body of 1 kB": lambda n: text[n : n + 1_000]}
    found: dict[str, dict[str, float]] = {}
    for name, value in kinds.items():
        new = iter([[{"to": value(n + _CALLS * turn)} for n in range(_CALLS)] for turn in range(rounds)])
        seen = {"to": value(0)}
        units = units_of(seen, None, _HASHER)

        def tokenise_new(new: Any = new) -> None:
            for arguments in next(new):
                units_of(arguments, None, _HASHER)

        def tokenise(arguments: Mapping[str, Any] = seen) -> None:
            for _ in range(_CALLS):
                units_of(arguments, None, _HASHER)

        def judge(units: Any = units) -> None:
            for _ in range(_CALLS):
                for unit in units:
                    origins.judge(unit)

        costs = {"tokenise_new": tokenise_new, "tokenise": tokenise, "judge": judge}
        found[name] = {
            step: round(min(_seconds(run) for _ in range(rounds)) / _CALLS * 1e6, 2)
            for step, run in costs.items()
        }
    return found


def _seconds(run: Callable[[], object]) -> float:
    began = time.process_time_ns()
    run()
    return (time.process_time_ns() - began) / 1e9


def _tables(measured: Mapping[str, Any]) -> list[Table]:
    read = Table(
        "result of 100 kB", "ms", title="reading a result", caption=f"budget for a text: {READ_BUDGET_MS} ms"
    )
    for name, cost in measured["read_ms"].items():
        read.add_row(name, f"{cost:.2f}")
    owner = Table(
        "after 1.1 MB of results",
        "figure",
        title="the owner of a workflow",
        caption=f"budgets: {MERGE_BUDGET_MS} ms for a merge, {STATE_BUDGET_BYTES} bytes",
    )
    for name in ("merge_ms", "to_bytes_ms", "from_bytes_ms", "state_bytes"):
        owner.add_row(name, str(measured[name]))
    arguments = Table(
        "argument",
        "tokenise what was never seen, µs",
        "seen lately, µs",
        "judge, µs",
        "together",
        title="a checked argument",
        caption=f"budget for one value: {JUDGED_BUDGET_US} µs",
    )
    for name, costs in measured["argument_us"].items():
        arguments.add_row(
            name,
            *(f"{one:.1f}" for one in costs.values()),
            f"{costs['tokenise'] + costs['judge']:.1f} to {costs['tokenise_new'] + costs['judge']:.1f}",
        )
    return [read, owner, arguments]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.origin",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=5, help="turns that everything takes (default 5)")
    parser.add_argument("--json", type=Path, metavar="OUT", help="where the figures are written as well")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds must be positive")
    return options


if __name__ == "__main__":
    main()
