"""One catalog out of many documents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import MappingProxyType

from policies.catalog import TOOL, TRUST, ArgumentType, Catalog, ResourceFacts
from policies.documents import CatalogDocument, ResourceDocument, SystemDocument
from policies.error import PolicyError, did_you_mean
from policies.keeping_checks import keeping_errors, keeping_warnings
from policies.keeping_documents import keeping_of
from policies.located import Located

Path = tuple[str, ...]


def build_catalog(
    documents: Sequence[Located[CatalogDocument]], errors: list[PolicyError], warnings: list[PolicyError]
) -> Catalog:
    """Join the documents; what two of them define twice is an error."""
    systems: dict[str, SystemDocument] = {}
    first: dict[Path, Located[CatalogDocument]] = {}
    for located in documents:
        for name, system in located.document.systems.items():
            _once(first, located, ("systems", name), ("systems", name), errors)
            systems[name] = system
        for name in located.document.data:
            _once(first, located, ("data", name), ("data", name), errors)
    entries: dict[tuple[str, str], ResourceFacts] = {}
    for located in documents:
        for resource_type, id_, entry, path in entries_of(located.document):
            _once(first, located, path, ("resources", resource_type, id_), errors)
            entries[resource_type, id_] = _facts(entry, systems)
            errors += keeping_errors(located, entry, path)
            warnings += keeping_warnings(located, entry, path)
            if entry.system is not None and entry.system not in systems:
                hint = did_you_mean(entry.system, systems)
                if hint:
                    message = f"`systems` does not name `{entry.system}`"
                    warnings.append(located.error((*path, "system"), "unknown_system", message, hint))
    declared = frozenset(path[1] for path in first if path[0] == "data")
    return Catalog(entries, systems=frozenset(systems), data_classes=declared)


def entries_of(document: CatalogDocument) -> Iterator[tuple[str, str, ResourceDocument, Path]]:
    """(resource type, id or glob, entry, path in the document) of every resource."""
    for id_, entry in document.tools.items():
        yield TOOL, id_, entry, ("tools", id_)
    for resource_type, entries in document.resources.items():
        for id_, entry in entries.items():
            yield resource_type, id_, entry, ("resources", resource_type, id_)


def _once(
    first: dict[Path, Located[CatalogDocument]],
    located: Located[CatalogDocument],
    path: Path,
    identity: Path,
    errors: list[PolicyError],
) -> None:
    earlier = first.setdefault(identity, located)
    in_both = path[:2] == ("resources", TOOL) and path[2] in located.document.tools
    if earlier is not located or in_both:
        message = f"`{path[-1]}` is already in the catalog ({earlier.source.name})"
        errors.append(located.error(path, "duplicate_entry", message, at_key=True))


def _facts(entry: ResourceDocument, systems: dict[str, SystemDocument]) -> ResourceFacts:
    system = systems.get(entry.system) if entry.system is not None else None
    returns = dict(entry.returns or {})
    arguments = None
    if entry.args is not None:
        arguments = MappingProxyType(
            {
                name: ArgumentType(type=argument.type, role=argument.role, required=argument.required)
                for name, argument in entry.args.items()
            }
        )
    return ResourceFacts(
        system=entry.system,
        effects=_tuple(entry.effects),
        data=_tuple(entry.data),
        boundary=entry.boundary,
        jurisdiction=system.jurisdiction if system is not None else None,
        # As a whole a result is worth what its least trustworthy part is worth.
        trust=max(returns.values(), key=TRUST.index) if returns else None,
        returns=MappingProxyType(returns),
        actions=_tuple(entry.actions),
        arguments=arguments,
        keeping=keeping_of(entry.evidence),
    )


def _tuple(values: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if values is None else tuple(sorted(set(values)))
