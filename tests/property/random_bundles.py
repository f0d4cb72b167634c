"""Random small bundles and stories, as plain documents: what `test_engine_against_oracle` asks about."""

from __future__ import annotations

from random import Random
from typing import Any, TypeAlias

Document: TypeAlias = dict[str, Any]

TOOLS = ["a.one", "a.two", "b.one", "b.two.x", "c"]
UNKNOWN_TOOL = "z.unknown"
AGENTS = ["bot", "mailer", "bot.eu"]
ARGUMENTS = {
    "to": ["iban", "iban", "string"],
    "acct": ["iban", "string"],
    "mail": ["email"],
    "amount": ["decimal", "decimal", "number"],
    "note": ["string"],
    "free": ["any"],
}
VALUES: dict[str, list[Any]] = {
    "to": ["DE89", "FR76", "GB11"],
    "acct": ["DE89", "FR76", "GB11"],
    "mail": ["a@b.example", "c@d.example"],
    "amount": [0, 1, 2, 5, 0.1, 0.2, 0.3, "0.1", "0.2", "5", "10.50", 10, 12, 100],
    "note": ["x", "y", ""],
    "free": ["x", 1, True, "y", 2.5, {"x": 1}, {"x": "2"}, {"x": "to"}],
}
ALIASES: dict[str, list[Any]] = {"DE89": ["DE 89", "de89"], "a@b.example": ["a@B.example"]}
ODD: dict[str, list[Any]] = {
    "amount": [-1, "-0.5", "abc", True, [3], {"a": 1}, None, " 5", "1e1", "05", ""],
    "note": [5, True, ["x"], None],
    "free": [["x"], {"x": 1}],
}
BOUNDS = [0, 1, 2, 3, 5, 10, "0.3", 0.3, "0.6", 12.5, -1]
CONDITIONS = [
    "args.amount > 5",
    "args.amount > 0.2",
    "args.amount <= 10.0",
    "args.amount == 5",
    'args.note == "x"',
    'args.free == "x"',
    "has(args.note)",
    "!(has(args.amount))",
    '!(args.note == "y")',
    'args.note == "x" || args.amount > 5',
    'has(args.note) && args.note == "x"',
    'subject.id == "bot"',
    'subject.id == "bot" || args.amount > 1',
    "has(args.free) && args.amount > 1",
]
WINDOWS = ["0s", "1s", "1s", "1d", "300d", "2s", "5s", "10s", "1m", "1h"]
ATOMS = ["p", "q", "r", "s"]


class Draws:
    """One bundle and its stories; the same seed draws the same ones."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def pick(self, options: list[Any]) -> Any:
        return self.random.choice(options)

    def some(self, options: list[Any], at_most: int, at_least: int = 1) -> list[Any]:
        return self.random.sample(options, self.random.randint(at_least, min(at_most, len(options))))

    # The bundle.

    def documents(self) -> list[Document]:
        self.types = {name: self.pick(kinds) for name, kinds in ARGUMENTS.items()}
        self.plain = self.chance(0.5)  # little beside the past: what a formula says is then what decides
        self.loose = self.pick([0, 0, 0.3])
        self.atoms = ATOMS[: self.random.randint(2, 4)]
        documents = [self.catalog(), self.policy()]
        if self.chance(0.5):
            bundle: Document = {"kind": "Bundle", "name": "b"}
            if self.chance(0.5):
                bundle["default"] = self.pick(["allow", "deny"])
            if self.chance(0.4):
                bundle["uncatalogued"] = self.pick(["allow", "deny"])
            if self.chance(0.05):
                bundle["mode"] = "monitor"
            documents.append(bundle)
        if self.chance(0.15):
            documents.insert(2, {**self.policy(), "name": "u"})
        return documents

    def catalog(self) -> Document:
        names = self.some(TOOLS, 5, 3)
        self.tools = {name: self.tool() for name in names}
        return {
            "kind": "Catalog",
            "tools": self.tools,
            "systems": {"crm": {"jurisdiction": "EU"}, "bank": {}},
        }

    def tool(self) -> Document:
        entry: Document = {}
        if self.chance(0.7):
            entry["system"] = self.pick(["crm", "bank"])
        if self.chance(0.75):
            entry["effects"] = self.some(["read", "write", "send", "pay"], 2, 0)
        if self.chance(0.75):
            entry["data"] = self.some(["pii", "cards"], 2, 0)
        if self.chance(0.75):
            entry["boundary"] = self.pick(["internal", "external"])
        if self.chance(0.3):
            entry["returns"] = self.pick(["trusted", "untrusted"])
        if self.chance(0.85):
            dropped = self.some(list(ARGUMENTS), 2, 0) if self.chance(0.3) else []
            entry["args"] = {name: {"type": kind} for name, kind in self.types.items() if name not in dropped}
            if self.chance(0.1):
                entry["args"]["note"] = {"type": "string", "required": True}
        if self.chance(0.1):
            entry["actions"] = ["call"]
        return entry

    def on(self) -> Document:
        on: Document = {}
        if self.chance(0.5):
            catalogued = list(self.tools)
            on["tool"] = self.pick(
                [self.pick(catalogued), self.some(catalogued, 2), "a.*", "b.**", "b.*", "**", "*"]
            )
        if self.chance(0.25):
            on["effect"] = self.pick(["read", "write", "send", ["pay", "send"]])
        if self.chance(0.15):
            on["data"] = self.pick(["pii", "cards", ["pii", "cards"]])
        if self.chance(0.1):
            on["boundary"] = self.pick(["internal", "external"])
        if self.chance(0.1):
            on["agent"] = self.pick(["bot", "bot.*", "*", ["bot", "mailer"]])
        if self.chance(0.05):
            on["jurisdiction"] = "EU"
        if self.chance(0.05):
            on["system"] = self.pick(["crm", "bank"])
        if self.chance(0.05):
            on["trust"] = self.pick(["trusted", "untrusted"])
        if self.chance(0.03):
            on["action"] = self.pick(["call", "view"])
        return on

    def policy(self) -> Document:
        define = {}
        for name in self.atoms:
            define[name] = {"on": self.on()}
            if self.chance(0.3):
                define[name]["when"] = self.pick(CONDITIONS)
        rules = [
            {"id": "everyday", "on": {} if self.plain or self.chance(0.7) else self.on(), "then": "allow"}
        ]
        rules += [self.rule(f"r{number}") for number in range(self.random.randint(1, 2 if self.plain else 5))]
        return {"kind": "Policy", "name": "t", "define": define, "rules": rules}

    def rule(self, name: str) -> Document:
        rule: Document = {"id": name, "then": self.pick(["deny", "deny", "deny", "escalate", "allow"])}
        if self.chance(0.15 if self.plain else 0.6):
            rule["on"] = self.on()
        if self.chance(0.05 if self.plain else 0.25):
            rule["when"] = self.pick(CONDITIONS)
        if self.chance(0.1):
            rule["mode"] = self.pick(["monitor", "enforce"])
        if self.chance(0.9 if self.plain else 0.7):
            self.add_past(rule)
        if ("past" not in rule or self.chance(0.15)) and self.chance(0.8):
            rule["limit"] = self.limit()
        return rule

    def add_past(self, rule: Document) -> None:
        if self.chance(0.3):
            rule["permitted_is_done"] = True
        if self.chance(0.25):
            rule["witness"] = "gateway"
        if self.chance(0.5):
            rule["scope"] = self.pick(["session", "workflow", "agent"])
        loosens = rule["then"] == "allow"
        rule["past"] = (
            self.formula(3)
            if self.chance(0.3)
            else self.good(3, loosens=loosens, previous=rule.get("permitted_is_done", False))
        )
        used = [
            atom for atom in self.atoms if atom in rule["past"].replace("(", " ").replace(")", " ").split()
        ]
        if self.chance(0.35) and used:
            used = self.some(used, 4) if self.chance(0.15) else used
            key = self.pick(
                [["to"], ["to", "acct"], ["amount"], ["mail"], ["free", "note"], ["to", "acct", "amount"]]
            )
            rule["by"] = {atom: f"args.{self.pick(key)}" for atom in used}
            if self.chance(0.1):
                rule["by"] = dict.fromkeys(used, self.pick(["subject.id", "args.free.x"]))

    def limit(self) -> Document:
        limit: Document = self.pick(
            [
                {"sum": "args.amount", "above": self.pick(BOUNDS)},
                {"sum": "args.free.x" if self.chance(0.1) else "args.amount", "above": self.pick(BOUNDS)},
                {"count": "actions", "above": self.random.randint(0, 4)},
                {"count": "denials", "above": self.random.randint(0, 3)},
            ]
        )
        if self.chance(0.8):
            limit["per"] = self.pick(WINDOWS)
        if self.chance(0.6):
            limit["scope"] = self.pick(["session", "workflow", "agent"])
        if self.chance(0.3):
            limit["key"] = self.pick(["args.to", "args.acct", "args.mail", "subject.id", "args.free"])
        return limit

    # Formulas.

    def window(self) -> str:
        return f"[{self.pick(WINDOWS)}]" if self.chance(0.7) else ""

    def spaced(self, text: str) -> str:
        return f"({text})" if self.chance(0.15) else text

    def formula(self, depth: int) -> str:
        """Any formula: many break the polarity rules."""
        if depth == 0 or self.chance(0.2):
            return str(self.pick(self.atoms))

        def sub() -> str:
            return self.inner(self.formula(depth - 1))

        match self.random.randint(0, 11):
            case 0 | 1:
                return f"not {sub()}"
            case 2 | 3:
                return f"{sub()} and {sub()}"
            case 4:
                return f"{sub()} or {sub()}"
            case 5:
                return f"{sub()} implies {sub()}"
            case 6:
                return f"previous {sub()}"
            case 7:
                return f"once{self.window()} {sub()}"
            case 8:
                return f"historically{self.window()} {sub()}"
            case 9:
                return f"{sub()} since{self.window()} {sub()}"
            case 10:
                return f"never {sub()}"
        return self.done()

    def done(self) -> str:
        atom = self.pick(self.atoms)
        if self.chance(0.5):
            return f"once{self.window()} done({atom})"
        return f"not done({atom}) since{self.window()} {self.inner(self.formula(1))}"

    def good(self, depth: int, *, loosens: bool, previous: bool) -> str:
        """A formula that keeps the polarity rules, `loosens` where a permission could loosen the rule."""
        if depth == 0 or self.chance(0.15):
            return str(self.pick(self.atoms))

        def sub(*, flip: bool = False) -> str:
            return self.inner(self.good(depth - 1, loosens=loosens ^ flip, previous=previous))

        options = ["not", "and", "and", "or", "implies", "done", "not done"]
        options += ["historically", "never"] if loosens else ["once", "once", "once", *["done since"] * 3]
        if previous:
            options += ["previous"] if loosens else ["previous", "since"]
        match self.pick(options):
            case "not":
                return f"not {sub(flip=True)}"
            case "and":
                return f"{sub()} and {sub()}"
            case "or":
                return f"{sub()} or {sub()}"
            case "implies":
                return f"{sub(flip=True)} implies {sub()}"
            case "done":
                return f"once{self.window()} done({self.pick(self.atoms)})"
            case "not done":
                return f"not once{self.window()} done({self.pick(self.atoms)})"
            case "once":
                return f"once{self.window()} {sub()}"
            case "historically":
                return f"historically{self.window()} {sub()}"
            case "never":
                return f"never {sub(flip=True)}"
            case "done since":
                return f"not done({self.pick(self.atoms)}) since{self.window()} {sub()}"
            case "previous":
                return f"previous {sub()}"
            case "since":
                return f"{sub()} since{self.window()} {sub()}"
        raise AssertionError

    def inner(self, text: str) -> str:
        if self.chance(self.loose):
            return text  # whatever it now means: who reads it has to agree on what binds tighter
        bare = " " not in text or (text.startswith("not ") and text.count(" ") == 1)
        return text if bare and not self.chance(0.1) else f"({text})"

    # The story.

    def story(self, cases: int) -> Document:
        sessions: Document = {}
        for number in range(self.random.randint(1, 4)):
            session: Document = {"agent": self.pick(AGENTS)}
            if sessions and self.chance(0.5):
                session["parent"] = self.pick(list(sessions))
                granted = self.granted(sessions, session["parent"])
                if self.chance(0.15):
                    session["tools"] = self.some(granted or [*TOOLS, "a.*", "b.**"], 3)
            sessions[f"s{number}"] = session
        return {
            "kind": "Test",
            "name": "t",
            "sessions": sessions,
            "cases": [
                {"name": f"case {number}", "steps": self.steps(list(sessions))} for number in range(cases)
            ],
        }

    def granted(self, sessions: Document, name: str | None) -> list[str] | None:
        """What a session was delegated: more than that it cannot delegate."""
        while name is not None and "tools" not in sessions[name]:
            name = sessions[name].get("parent")
        return None if name is None else sessions[name]["tools"]

    def steps(self, sessions: list[str]) -> list[Document]:
        at = 0
        steps = []
        usual = self.some(list(self.tools), 3)
        for _ in range(self.random.randint(3, 12)):
            at += self.pick([0, 0, 1, 1, 1, 2, 3, 5, 10, 59, 60])
            steps.append(self.step(self.pick(sessions), at, usual))
        return steps

    def step(self, session: str, at: int, usual: list[str]) -> Document:
        tool = self.pick(usual) if self.chance(0.8) else self.pick([*self.tools, *self.tools, UNKNOWN_TOOL])
        step: Document = {"session": session, "tool": tool, "expect": "allow"}
        if at or self.chance(0.5):
            step["at"] = f"{at}s"
        if self.chance(0.02):
            step["action"] = "view"
        listed = self.tools.get(tool, {}).get("args", ARGUMENTS)
        step["args"] = {name: self.value(name) for name in listed if self.chance(0.75)}
        if self.chance(0.02):
            step["args"]["extra"] = 1
        if self.chance(0.7 if self.plain else 0.4):
            step["outcome"] = {"status": self.pick(["succeeded", "failed", "not_executed", "unreported"])}
            if self.chance(0.4):
                step["outcome"]["witness"] = self.chance(0.5)
        return step

    def value(self, name: str) -> Any:
        if name in ODD and self.chance(0.08):
            return self.pick(ODD[name])
        value = self.pick(VALUES[name])
        if self.types[name] in ("iban", "email") and value in ALIASES and self.chance(0.3):
            return self.pick(ALIASES[value])
        return value
