"""What a catalog leaves open or has lost touch with, beyond what the loader refuses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from policies.catalog import TOOL, Catalog
from policies.catalog_build import build_catalog, entries_of
from policies.catalog_draft.descriptions import ToolDescription
from policies.documents import CatalogDocument, ResourceDocument
from policies.error import PolicyError, PolicyErrors, Source, did_you_mean
from policies.keeping_checks import keeping_warnings
from policies.lint.finding import Finding, Level, finding
from policies.loader import load_documents
from policies.located import Located

Path = tuple[str, ...]

CATALOG_CODES: Final = frozenset(
    (
        "missing_argument", "missing_tool", "no_catalog", "open_arguments", "open_boundary", "open_effects",
        "payer_without_destination", "read_without_returns", "role_left_out", "secret_kept",
        "sender_without_destination", "stale_argument", "type_left_out", "undeclared_data", "undeclared_system",
        "unlisted_evidence_argument",
    )
)  # fmt: skip
"""Of what is found beyond what the loader says."""

_DIRECTIONS = frozenset(("destination", None))  # an argument without a role is checked as a destination


def check_catalogs(
    sources: Sequence[Source], tools: Sequence[ToolDescription] | None = None
) -> tuple[Finding, ...]:
    """Everything that is wrong or left open, in the order of files and lines.

    Args:
        sources: catalogs; other kinds of documents among them are loaded and not looked at.
        tools: what the tools say of themselves now; None = not compared.
    Cost: that of loading the documents.
    """
    try:
        catalogs = load_documents(sources).catalogs
    except PolicyErrors as refused:
        return tuple(finding(Level.ERROR, error) for error in refused.errors)
    errors: list[PolicyError] = []
    catalog = build_catalog(catalogs, errors, [])
    found = [finding(Level.ERROR, error) for error in errors]
    if not catalogs and sources:
        message = "no `kind: Catalog` document among the files"
        nowhere = PolicyError(file=sources[0].name, line=1, column=1, code="no_catalog", message=message)
        return (finding(Level.ERROR, nowhere),)
    for located in catalogs:
        for resource_type, id_, entry, path in entries_of(located.document):
            found += _entry(located, resource_type == TOOL, id_, entry, path, catalog)
    if tools is not None:
        found += _drift(catalogs, catalog, tools)
    return tuple(sorted(found, key=lambda one: (one.file, one.line, one.column, one.code)))


def _entry(
    located: Located[CatalogDocument],
    is_tool: bool,
    id_: str,
    entry: ResourceDocument,
    path: Path,
    catalog: Catalog,
) -> Iterator[Finding]:
    def odd(code: str, message: str, hint: str = "", *, at: Path = path) -> Finding:
        return finding(Level.WARNING, located.error(at, code, message, hint, at_key=at == path))

    if entry.effects is None:
        yield odd(
            "open_effects", f"`{id_}` leaves its effects open: every restricting rule on effects matches it"
        )
    if entry.boundary is None:
        yield odd(
            "open_boundary", f"`{id_}` leaves its boundary open: it counts as external where that restricts"
        )
    if entry.system is not None and entry.system not in catalog.systems:
        hint = did_you_mean(entry.system, catalog.systems)
        yield odd(
            "undeclared_system", f"`systems` does not name `{entry.system}`", hint, at=(*path, "system")
        )
    for name in entry.data or ():
        if name not in catalog.data_classes:
            hint = did_you_mean(name, catalog.data_classes)
            yield odd("undeclared_data", f"`data` does not name `{name}`", hint, at=(*path, "data"))
    for warning in keeping_warnings(located, entry, path):
        yield finding(Level.WARNING, warning)
    if not is_tool:
        return
    effects = entry.effects or ()
    if "read" in effects and entry.returns is None:
        message = f"`{id_}` reads, and does not say what its results are worth: all of it counts as untrusted"
        yield odd("read_without_returns", message, "write `returns: untrusted` if that is meant")
    if entry.args is None:
        yield odd(
            "open_arguments", f"`{id_}` does not list its arguments: any are accepted, each a destination"
        )
        return
    for name, argument in entry.args.items():
        at = (*path, "args", name)
        if argument.role is None:
            yield odd("role_left_out", f"`{name}` has no role: it is checked as a destination", at=at)
        if "type" not in argument.model_fields_set:
            yield odd("type_left_out", f"`{name}` has no type: equal values may look different", at=at)
    if any(argument.role in _DIRECTIONS for argument in entry.args.values()):
        return
    if "send" in effects and entry.boundary != "internal":
        message = f"`{id_}` sends out of the house, and no argument is its destination"
        yield odd("sender_without_destination", message, "only what is published to all has none")
    if "pay" in effects:
        message = f"`{id_}` pays, and no argument is its destination: no rule on payees looks at it"
        yield odd(
            "payer_without_destination", message, "say which argument tells who is paid, or what is bought"
        )


def _drift(
    catalogs: Sequence[Located[CatalogDocument]], catalog: Catalog, tools: Sequence[ToolDescription]
) -> Iterator[Finding]:
    places = {
        (type_, id_): (located, path)
        for located in catalogs
        for type_, id_, _, path in entries_of(located.document)
    }
    by_facts = {id(catalog.entries[key]): place for key, place in places.items()}
    for tool in tools:
        facts = catalog.facts(TOOL, tool.name)
        if facts is None:
            hint = did_you_mean(tool.name, (id_ for type_, id_ in catalog.entries if type_ == TOOL))
            message = f"the tool `{tool.name}` is not in the catalog: it is denied"
            yield finding(Level.ERROR, catalogs[0].error((), "missing_tool", message, hint))
            continue
        if facts.arguments is None:
            continue
        located, path = by_facts[id(facts)]
        described = {one.name for one in tool.parameters}
        for name in sorted(described - facts.arguments.keys()):
            message = (
                f"`{tool.name}` takes `{name}`, which is not among its `args`: an action with it is denied"
            )
            yield finding(Level.ERROR, located.error((*path, "args"), "missing_argument", message))
        for name in sorted(facts.arguments.keys() - described):
            message = f"`{tool.name}` does not take `{name}` any more"
            yield finding(
                Level.WARNING, located.error((*path, "args", name), "stale_argument", message, at_key=True)
            )
