"""What the service decides over HTTP is what the engine decides in process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from unit.benchmarks.trace_samples import Line, delegation, line, step

from benchmarks import traces as command

GARDEN = """
kind: Catalog
tools:
  garden.read: {effects: [read], data: [], args: {bed: {type: string}}}
  garden.water: {effects: [write], data: [], args: {bed: {type: string, required: true}, liters: {type: decimal, required: true}}}
  garden.dig: {effects: [write], data: [], args: {bed: {type: string}}}
---
kind: Policy
name: garden
define:
  looks: {on: {tool: garden.read}}
  waters: {on: {tool: garden.water}}
rules:
  - {id: own, on: {subject_type: agent}, when: "!has(subject.attributes.tools) || resource.id in subject.attributes.tools", then: allow}
  - id: look-first
    on: {tool: garden.water}
    past: waters and not once done(looks)
    by: {waters: args.bed, looks: args.bed}
    then: deny
  - id: enough
    on: {tool: garden.water}
    limit: {sum: args.liters, per: 1h, scope: session, above: 10}
    then: escalate
"""  # noqa: E501

MANIFESTS = {"clerk": ["garden.read"], "digger": ["garden.dig", "garden.read"]}
GRANT = {"allowed_actions": ["garden.*"], "max_delegation_depth": 1, "ttl_seconds": 60}


def _handed(by: str, to: str, task: str, parent: str | None, **more: Any) -> Line:
    return delegation(by, to, task, parent=parent, time=None, **more)


def _water(liters: float, bed: str = "roses", **more: Any) -> Line:
    return step("garden.water", args={"bed": bed, "liters": liters}, **more)


def _of_one_agent() -> list[Line]:
    look = step("garden.read", args={"bed": "roses"})
    return [
        line(look, _water(3), _water(6), prompt=["water the roses", "and once more"]),
        line(look, _water(3), _water(8)),
        line(_water(3), look, prompt=None),
        line(step("garden.read", args={"bed": "roses"}, error=True), _water(1)),
        line(look, _water(1, bed="tulips"), kind="attack", attack_steps=[1]),
    ]


def _of_several_agents() -> list[Line]:
    look = step("garden.read", args={"bed": "roses"}, agent="clerk", nonce="n-root")
    root = _handed("user:rosa", "clerk", "root", None, scope=["garden.*"])
    dig = _handed("clerk", "digger", "dig", "root", depth=1, scope=["garden.dig"])
    digs = step("garden.dig", agent="digger", nonce="n-dig")
    several = {"grant": GRANT, "agents": MANIFESTS, "kind": "attack"}
    return [
        line(step("garden.burn"), kind="attempt"),
        line(root, look, dig, digs, **several | {"kind": "benign"}),
        line(root, dig, step("garden.read", agent="digger", nonce="n-dig"), **several),
        line(root, dig, dig, **several),
        line(root, dig, _handed("digger", "clerk", "back", "dig", depth=2, scope=["garden.dig"]), **several),
        line(root, _handed("clerk", "digger", "dig", "root", principal="eve"), **several),
        line(root, digs | {"nonce": ""}, **several),
        line(
            _handed("user:rosa", "clerk", "root", None, scope=["garden.read"]),
            _handed("clerk", "digger", "dig", "root", depth=1, scope=["garden.dig"]),
            **several,
        ),
    ]


@pytest.mark.ray
@pytest.mark.parametrize(
    ("lines", "attacks", "benign"),
    [
        pytest.param(_of_several_agents(), (6, 6), (1, 0), id="several agents"),
        pytest.param(
            _of_one_agent(),
            (1, 1),
            (4, 3),
            id="the past of one agent",
        ),
    ],
)
def test_the_service_stops_the_traces_that_the_engine_stops_at_the_same_steps(
    tmp_path: Path, lines: list[Line], attacks: tuple[int, int], benign: tuple[int, int]
) -> None:
    (tmp_path / "traces.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (tmp_path / "garden.yaml").write_text(GARDEN)
    found: dict[str, Any] = {}
    for name, more in (("engine", ["--in-process"]), ("service", [])):
        out = tmp_path / f"{name}.json"
        paths = [str(tmp_path / "traces.jsonl"), "--catalog", str(tmp_path / "garden.yaml")]
        assert command.main([*paths, "--json", str(out), *more]) == 0
        found[name] = json.loads(out.read_text())
    engine, service = found["engine"], found["service"]
    assert (engine["about"]["where"], service["about"]["where"]) == ("in process", "over HTTP")
    for kind, (n, stopped) in (("attack", attacks), ("benign", benign)):
        assert engine[kind] == {"n": n, "stopped": stopped}
    for what in ("attack", "benign", "attempt"):
        assert service.get(what) == engine.get(what)
    for what in ("misses", "stops"):
        assert [_told(one) for one in service[what]] == [_told(one) for one in engine[what]]


def _told(one: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in one.items() if name != "message"}
