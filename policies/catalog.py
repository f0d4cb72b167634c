"""What is known about resources: tools, systems and data classes, and the types of arguments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from policies.globs import Glob, is_glob
from policies.keeping import ArgumentKeeping

TOOL = "tool"

EFFECTS: Mapping[str, str] = MappingProxyType(
    {
        "read": "returns data",
        "write": "creates or changes data",
        "delete": "destroys data",
        "send": "delivers content to somebody: mail, chat, a web form, a publication",
        "pay": "moves money, or binds somebody to pay",
        "execute": "runs code or commands",
        "grant": "changes who may do what: permissions, sharing, credentials",
        "delegate": "hands work to another agent",
        "admin": "changes how a system is set up",
    }
)
BOUNDARIES = ("internal", "external")
TRUST = ("trusted", "identifiers", "untrusted")  # from the most to the least trustworthy
ARGUMENT_TYPES = (
    "string", "decimal", "integer", "number", "boolean", "iban", "email", "url", "date", "datetime", "list",
    "object", "any",
)  # fmt: skip
ARGUMENT_ROLES = ("destination", "target", "secret", "content", "quantity", "time", "profile", "query")

_MEMO_LIMIT = 10_000  # resource ids come from callers: an unbounded memo would be theirs to fill


@dataclass(frozen=True, slots=True, kw_only=True)
class ArgumentType:
    """One catalogued argument; `role` None = undeclared; without a required one the action is denied."""

    type: str = "any"
    role: str | None = None
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceFacts:
    """What the catalog says of one resource. None = left open, i.e. unknown; empty = known to be none.

    Args:
        trust: the least trustworthy of what its results may hold.
        returns: trust by JSON pointer, with the key "default"; empty when left open.
        arguments: None = arguments are not listed (anything goes); empty = it takes none.
        keeping: how evidence keeps them; None = masked.
    """

    system: str | None = None
    effects: tuple[str, ...] | None = None
    data: tuple[str, ...] | None = None
    boundary: str | None = None
    jurisdiction: str | None = None
    trust: str | None = None
    returns: Mapping[str, str] = field(default_factory=dict)
    actions: tuple[str, ...] | None = None
    arguments: Mapping[str, ArgumentType] | None = None
    keeping: ArgumentKeeping | None = None


class Catalog:
    """Facts by resource type and id; an exact id wins over globs, then the glob with the most literal text.

    Args:
        entries: (resource type, id or glob) → facts.
        systems, data_classes: what the documents declare by name.
    Attributes:
        encrypts: whether evidence keeps any argument encrypted.
    """

    def __init__(
        self,
        entries: Mapping[tuple[str, str], ResourceFacts],
        *,
        systems: frozenset[str] = frozenset(),
        data_classes: frozenset[str] = frozenset(),
    ) -> None:
        self.systems = systems
        self.data_classes = data_classes
        self.entries = MappingProxyType(dict(entries))
        self.encrypts = any(
            facts.keeping is not None and facts.keeping.subjects for facts in entries.values()
        )
        globs = [(type_, Glob(id_), facts) for (type_, id_), facts in entries.items() if is_glob(id_)]
        # Longest literal text first; the pattern breaks ties, so that the order of files never matters.
        self._globs = sorted(globs, key=lambda entry: (-entry[1].literal_length, entry[1].pattern))
        self._memo: dict[tuple[str, str], ResourceFacts | None] = {}

    def facts(self, resource_type: str, resource_id: str) -> ResourceFacts | None:
        """The facts of one resource, or None when the catalog does not know it.

        Cost: one dictionary lookup for a resource seen before; otherwise O(globs).
        """
        key = (resource_type, resource_id)
        try:
            return self._memo[key]
        except KeyError:
            pass
        if len(self._memo) >= _MEMO_LIMIT:
            self._memo.clear()
        found = self._memo[key] = self._find(resource_type, resource_id)
        return found

    def _find(self, resource_type: str, resource_id: str) -> ResourceFacts | None:
        # A glob's own text is not an id: a caller who sends `mail.*` gets no exact match.
        if not is_glob(resource_id):
            exact = self.entries.get((resource_type, resource_id))
            if exact is not None:
                return exact
        for type_, glob, facts in self._globs:
            if type_ == resource_type and glob.matches(resource_id):
                return facts
        return None
