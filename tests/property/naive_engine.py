"""What a story must be answered, read from the words of the design alone: slowly, over the whole trace.

An oracle for `test_engine_against_oracle`: it takes the documents as plain dicts and shares nothing with the engine.
Everything is evaluated anew at every step, from the steps that were told.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeAlias

from property.naive_formulas import Tree, atoms_of, holds_at, parse, seconds
from property.naive_values import Truth, all_of, any_of, at_path, canonical, decimal_of, globbed, opposite

Document: TypeAlias = dict[str, Any]

_MISSING = ("missing",)
_FRESH = ("fresh",)


@dataclass
class Told:
    """A step as it was told, and what became of it."""

    step: Document
    agent: str
    at_s: int
    effect: str = "deny"
    permitted: bool = False

    @property
    def status(self) -> str:
        if not self.permitted:
            return "unreported"
        return str(self.step.get("outcome", {}).get("status", "succeeded"))

    @property
    def witnessed(self) -> bool:
        return bool(self.step.get("outcome", {}).get("witness", True))


@dataclass
class Answer:
    """What a step must be answered.

    Args:
        rules: those that must be reported: all that restrict, or of a permission all that grant.
        monitored: those that match and are only recorded.
    """

    effect: str
    rules: set[str] = field(default_factory=set)
    monitored: set[str] = field(default_factory=set)


class Oracle:
    """The documents of one bundle and its test."""

    def __init__(self, documents: list[Document]) -> None:
        catalogs = [one for one in documents if one["kind"] == "Catalog"]
        self.tools = {name: entry for one in catalogs for name, entry in one.get("tools", {}).items()}
        self.systems = {name: entry for one in catalogs for name, entry in one.get("systems", {}).items()}
        self.policies = [one for one in documents if one["kind"] == "Policy"]
        self.bundle = next((one for one in documents if one["kind"] == "Bundle"), {})
        self.sessions = next(one for one in documents if one["kind"] == "Test")["sessions"]

    def answers(self, steps: list[Document]) -> list[Answer]:
        told: list[Told] = []
        answers = []
        now_s = 0
        for step in steps:
            now_s = seconds(step["at"]) if "at" in step else now_s
            current = Told(step=step, agent=self.sessions[step["session"]]["agent"], at_s=now_s)
            answer = self._answer(told, current)
            current.effect, current.permitted = answer.effect, answer.effect == "allow"
            told.append(current)
            answers.append(answer)
        return answers

    def _answer(self, told: list[Told], current: Told) -> Answer:
        if self._out_of_bounds(current):
            return Answer(effect="deny")
        matched: dict[str, set[str]] = {"deny": set(), "escalate": set(), "allow": set()}
        monitored = set()
        for policy in self.policies:
            for rule in policy["rules"]:
                if self._matches(policy, rule, told, current):
                    name = f"{policy['name']}/{rule['id']}"
                    if "monitor" in (rule.get("mode"), self.bundle.get("mode")):
                        monitored.add(name)
                    else:
                        matched[rule["then"]].add(name)
        restricting = matched["deny"] | matched["escalate"]
        for effect, rules in matched.items():
            if rules:
                return Answer(effect=effect, rules=restricting or rules, monitored=monitored)
        return Answer(effect=self.bundle.get("default", "deny"), monitored=monitored)

    def _out_of_bounds(self, current: Told) -> bool:
        """Whether the catalog or a delegation refuses the action, whatever the rules say."""
        step, name = current.step, current.step["session"]
        while "parent" in self.sessions[name]:
            grants = self.sessions[name].get("tools")
            if grants is not None and not any(globbed(one, step["tool"]) for one in grants):
                return True
            name = self.sessions[name]["parent"]
        entry = self.tools.get(step["tool"])
        if entry is None:
            return bool(self.bundle.get("uncatalogued", "deny") == "deny")
        listed = entry.get("args")
        if listed is not None and not set(step.get("args", {})) <= set(listed):
            return True
        if entry.get("actions") is not None and step.get("action", "call") not in entry["actions"]:
            return True
        return any(
            one.get("required") and argument not in step.get("args", {})
            for argument, one in (listed or {}).items()
        )

    # A rule.

    def _matches(self, policy: Document, rule: Document, told: list[Told], current: Told) -> bool:
        restricts = rule["then"] != "allow"
        return (
            self._bit(rule, current, restricts)
            and ("past" not in rule or self._past(policy, rule, told, current, restricts))
            and ("limit" not in rule or self._limit(rule, told, current, restricts))
        )

    def _bit(self, atom: Document, one: Told, possible: bool) -> bool:
        truth = all_of([self._on(atom.get("on", {}), one), self._when(atom.get("when"), one)])
        return possible if truth is None else truth

    def _in_scope(self, scope: str, told: list[Told], current: Told) -> list[Told]:
        def root(name: str) -> str:
            while "parent" in self.sessions[name]:
                name = self.sessions[name]["parent"]
            return name

        def mine(one: Told) -> bool:
            match scope:
                case "session":
                    return bool(one.step["session"] == current.step["session"])
                case "workflow":
                    return root(one.step["session"]) == root(current.step["session"])
                case "agent":
                    return one.agent == current.agent
            raise AssertionError(scope)

        return [one for one in told if mine(one)]

    # `on`: three-valued over what the catalog says.

    def _on(self, on: Document, one: Told) -> Truth:
        return all_of([self._on_key(key, patterns, one) for key, patterns in on.items()])

    def _on_key(self, key: str, patterns: str | list[str], one: Told) -> Truth:
        patterns = [patterns] if isinstance(patterns, str) else patterns
        values = self._values(key, one)
        if values is None:
            return None
        return any(globbed(pattern, value) for pattern in patterns for value in values)

    def _values(self, key: str, one: Told) -> list[str] | None:
        entry = self.tools.get(one.step["tool"], {})
        match key:
            case "agent":
                return [one.agent]
            case "subject_type":
                return ["agent"]
            case "action":
                return [one.step.get("action", "call")]
            case "tool" | "resource":
                return [one.step["tool"]]
            case "resource_type":
                return ["tool"]
            case "system" | "boundary":
                return [entry[key]] if key in entry else None
            case "effect":
                return list(entry["effects"]) if "effects" in entry else None
            case "data":
                return list(entry["data"]) if "data" in entry else None
            case "jurisdiction":
                system = self.systems.get(entry.get("system"), {})
                return [system[key]] if key in system else None
            case "trust":
                return [entry["returns"]] if "returns" in entry else None
        raise AssertionError(key)

    # `when`: a few forms of CEL.

    def _when(self, when: str | None, one: Told) -> Truth:
        if when is None:
            return True
        if any(self._argument(name, one) == (None, True) for name in re.findall(r"args\.(\w+)", when)):
            return None  # an argument of another type than the catalog's fails the whole condition
        return self._condition(when, one)

    def _condition(self, when: str, one: Told) -> Truth:
        if " || " in when:
            return any_of([self._condition(part, one) for part in when.split(" || ")])
        if " && " in when:
            return all_of([self._condition(part, one) for part in when.split(" && ")])
        if when.startswith("!("):
            return opposite(self._condition(when[2:-1], one))
        if found := re.fullmatch(r"has\(args\.(\w+)\)", when):
            value, failed = self._argument(found[1], one)
            return None if failed and value is not _MISSING else value is not _MISSING
        if found := re.fullmatch(r'subject\.id == "(.*)"', when):
            return one.agent == found[1]
        if found := re.fullmatch(r'args\.(\w+) == "(.*)"', when):
            value, failed = self._argument(found[1], one)
            return None if failed else value == found[2]
        if found := re.fullmatch(r"args\.(\w+) (>|<=|==) (-?[0-9.]+)", when):
            return self._compared(*self._argument(found[1], one), found[2], Decimal(found[3]))
        raise AssertionError(when)

    @staticmethod
    def _compared(value: object, failed: bool, operator: str, bound: Decimal) -> Truth:
        if failed:
            return None
        number = decimal_of(value) if isinstance(value, int | float | Decimal) else None
        if operator == "==":
            return number == bound
        if number is None:
            return None
        return number > bound if operator == ">" else number <= bound

    def _type(self, argument: str, one: Told) -> str:
        listed = self.tools.get(one.step["tool"], {}).get("args") or {}
        return str(listed.get(argument, {}).get("type", "any"))

    def _argument(self, name: str, one: Told) -> tuple[Any, bool]:
        """(the value as conditions see it, whether reading it fails)."""
        value = one.step.get("args", {}).get(name, _MISSING)
        if value is _MISSING:
            return value, True
        match self._type(name, one):
            case "any":
                return value, False
            case "decimal" | "number" | "integer" as kind:
                number = decimal_of(value)
                if number is None or (kind == "integer" and number != number.to_integral_value()):
                    return None, True
                return number, False
            case _:
                return (value, False) if isinstance(value, str) else (None, True)

    # `past`

    def _past(
        self, policy: Document, rule: Document, told: list[Told], current: Told, restricts: bool
    ) -> bool:
        tree = parse(rule["past"])
        happened = [
            one for one in self._in_scope(rule.get("scope", "workflow"), told, current) if one.permitted
        ]
        trace = [*happened, current]
        atoms = {name: policy["define"][name] for name in atoms_of(tree)}
        by = {name: key for name, key in rule.get("by", {}).items() if name in atoms}

        def truth(name: str, one: Told, possible: bool) -> bool:
            return self._bit(atoms[name], one, possible)

        if not by:
            return self._formula(rule, tree, trace, restricts, truth)

        def keys(one: Told) -> dict[str, object]:
            """What an event binds: a value for each keyed atom that possibly holds of it."""
            return {name: self._key(key, one) for name, key in by.items() if truth(name, one, True)}

        def binds(one: Told, value: object) -> bool:
            return any(key in (value, _MISSING) for key in keys(one).values())

        values = {key for one in trace for key in keys(one).values() if key is not _MISSING} | {_FRESH}
        for value in values:
            if not (binds(current, value) if restricts else value in keys(current).values()):
                continue

            def in_slice(name: str, one: Told, possible: bool, value: object = value) -> bool:
                return truth(name, one, possible) and (
                    name not in by
                    or (key := self._key(by[name], one)) == value
                    or (key is _MISSING and possible)
                )

            seen = [one for one in trace if binds(one, value)]
            if self._formula(rule, tree, seen, restricts, in_slice):
                return True
        return False

    @staticmethod
    def _formula(
        rule: Document,
        tree: Tree,
        trace: list[Told],
        restricts: bool,
        truth: Callable[[str, Told, bool], bool],
    ) -> bool:
        def succeeded(at: int, doubt: bool) -> bool:
            """`doubt`: whether what nobody has reported counts."""
            one = trace[at]
            if one.status == "succeeded" and (one.witnessed or rule.get("witness") != "gateway"):
                return True
            return doubt and one is not trace[-1] and one.status in ("succeeded", "unreported")

        return holds_at(
            tree,
            len(trace) - 1,
            [one.at_s for one in trace],
            restricts,
            lambda name, at, possible: truth(name, trace[at], possible),
            succeeded,
        )

    def _key(self, path: str, one: Told) -> object:
        if path == "subject.id":
            return ("string", one.agent)
        value = at_path(one.step.get("args", {}), path)
        return _MISSING if value is None else canonical(self._type(path.removeprefix("args."), one), value)

    # `limit`

    def _limit(self, rule: Document, told: list[Told], current: Told, restricts: bool) -> bool:
        limit = rule["limit"]
        counted = [
            one
            for one in self._in_scope(limit.get("scope", "workflow"), told, current)
            if self._bit(rule, one, restricts)
            and ("per" not in limit or current.at_s - one.at_s < seconds(limit["per"]))
        ]
        if "key" not in limit:
            return self._exceeded(limit, counted, current, restricts)
        mine, others = self._key(limit["key"], current), [self._key(limit["key"], one) for one in counted]
        if not restricts:
            same = [one for one, key in zip(counted, others, strict=True) if key == mine]
            return mine is not _MISSING and self._exceeded(limit, same, current, restricts)
        # Where the key is missing it might be any.
        return any(
            self._exceeded(
                limit,
                [one for one, key in zip(counted, others, strict=True) if key in (value, _MISSING)],
                current,
                restricts,
            )
            for value in ({mine} if mine is not _MISSING else {*others, _FRESH})
        )

    @staticmethod
    def _exceeded(limit: Document, counted: list[Told], current: Told, restricts: bool) -> bool:
        above = decimal_of(limit["above"])
        assert above is not None
        if limit.get("count") == "denials":
            return sum(one.effect == "deny" for one in counted) > above
        spent = [
            one for one in counted if one.permitted and not (one.status == "not_executed" and one.witnessed)
        ]
        if limit.get("count") == "actions":
            return len(spent) + 1 > above
        amounts = [decimal_of(at_path(one.step.get("args", {}), limit["sum"])) for one in [*spent, current]]
        if amounts[-1] is None or amounts[-1] < 0:
            return restricts
        return sum((one for one in amounts if one is not None and one > 0), Decimal()) > above
