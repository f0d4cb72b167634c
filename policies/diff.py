"""What changes from one bundle to another: in words that authors wrote, and in what is remembered of the past."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from policies.bundle import Bundle
from policies.documents import BundleDocument
from policies.index import set_bits
from policies.loader import DocumentSet
from policies.normal_form import normal_form
from policies.past.program import Limit, PastMonitor
from policies.past.retention import HISTORY_DAYS
from policies.past.translation import Translation, describe
from policies.quantities import text_of

Kind: TypeAlias = Literal["setting", "rule", "define", "resource", "system", "data", "control", "description"]
_NOTHING: Mapping[str, Any] = {}
_CATALOGUED = ("resource", "system")


@dataclass(frozen=True, slots=True, kw_only=True)
class Clause:
    """One key with its values before and after; None = it is left out."""

    key: str
    old: Any
    new: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing that was added, removed or changed; its clauses say how."""

    kind: Kind
    name: str
    change: Literal["added", "removed", "changed"]
    clauses: tuple[Clause, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """What becomes of a monitor (`past`) or an account (`limit`) of live sessions when the new bundle is activated.

    Args:
        rules: that stand on it, of the new bundle, or of the old one where it is forgotten.
        note: what a new one knows of what was before.
    """

    kind: Literal["past", "limit"]
    says: str
    rules: tuple[str, ...]
    becomes: Literal["kept", "new", "forgotten"]
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleDiff:
    """Args: old, new: digests; equal ones mean that nothing changes."""

    old: str
    new: str
    changes: tuple[Change, ...]
    past: tuple[Remembered, ...]


def diff(old: DocumentSet, new: DocumentSet, old_bundle: Bundle, new_bundle: Bundle) -> BundleDiff:
    """Compare two bundles; files, order and layout make no difference. Cost: linear in the documents."""
    before, after = _flat(normal_form(old)), _flat(normal_form(new))
    changes = []
    for kind, name in sorted(before.keys() | after.keys()):
        was, is_ = before.get((kind, name)), after.get((kind, name))
        if was == is_:
            continue
        clauses = tuple(_clauses(was or _NOTHING, is_ or _NOTHING))
        change: Literal["added", "removed", "changed"] = (
            "added" if was is None else "removed" if is_ is None else "changed"
        )
        changes.append(Change(kind=kind, name=name, change=change, clauses=clauses))
    return BundleDiff(
        old=old_bundle.digest,
        new=new_bundle.digest,
        changes=tuple(changes),
        past=tuple(
            _past(old_bundle, new_bundle, recatalogued=any(one.kind in _CATALOGUED for one in changes))
        ),
    )


def _clauses(was: Mapping[str, Any], is_: Mapping[str, Any]) -> Iterator[Clause]:
    for key in sorted(was.keys() | is_.keys()):
        if was.get(key) != is_.get(key):
            yield Clause(key=key, old=was.get(key), new=is_.get(key))


def _flat(normal: Mapping[str, Any]) -> dict[tuple[Kind, str], Mapping[str, Any]]:
    """Everything that has a name, by kind and name."""
    flat: dict[tuple[Kind, str], Mapping[str, Any]] = {}
    settings: dict[str, Any] = {
        key: field.default for key, field in BundleDocument.model_fields.items() if not field.is_required()
    }
    settings |= {key: value for key, value in (normal["bundle"] or {}).items() if key != "kind"}
    flat["setting", "bundle"] = {key: value for key, value in settings.items() if value != ""}
    for policy, parts in normal["policies"].items():
        if parts["descriptions"]:
            flat["description", policy] = {"description": parts["descriptions"]}
        if parts.get("authors"):
            flat["setting", f"policy {policy}"] = {"authors": parts["authors"]}
        for name, define in parts["define"].items():
            flat["define", f"{policy}/{name}"] = define
        for name, rule in parts["rules"].items():
            flat["rule", f"{policy}/{name}"] = rule
    catalog = normal["catalog"]
    for type_, entries in catalog["resources"].items():
        for id_, entry in entries.items():
            flat["resource", f"{type_} {id_}"] = entry
    for name, system in catalog["systems"].items():
        flat["system", name] = system
    for name, data in catalog["data"].items():
        flat["data", name] = data
    if catalog["descriptions"]:
        flat["description", "catalog"] = {"description": catalog["descriptions"]}
    for name, controls in normal["controls"].items():
        for control, text in controls.get("controls", {}).items():
            flat["control", f"{name} {control}"] = text
    return flat


def _past(old: Bundle, new: Bundle, *, recatalogued: bool) -> Iterator[Remembered]:
    before, after = describe(old), describe(new)
    kept = "what it remembers was seen with the old catalog" if recatalogued else ""
    forward, back = Translation(before, after), Translation(after, before)
    for number, monitor in enumerate(new.program.monitors):
        fresh = number in forward.new_monitors
        yield Remembered(
            kind="past",
            says=monitor.monitor.text,
            rules=tuple(rule.name for rule in new.rules if rule.past == number),
            becomes="new" if fresh else "kept",
            note=_monitor_note(new, monitor) if fresh else kept,
        )
    for number, limit in enumerate(new.program.limits):
        fresh = number in forward.new_accounts
        yield Remembered(
            kind="limit",
            says=_limit_text(new, limit),
            rules=tuple(rule.name for rule in new.rules if rule.limit == number),
            becomes="new" if fresh else "kept",
            note=_limit_note(new, limit) if fresh else kept,
        )
    for number in sorted(back.new_monitors):
        rules = tuple(rule.name for rule in old.rules if rule.past == number)
        says = old.program.monitors[number].monitor.text
        yield Remembered(kind="past", says=says, rules=rules, becomes="forgotten")
    for number in sorted(back.new_accounts):
        rules = tuple(rule.name for rule in old.rules if rule.limit == number)
        says = _limit_text(old, old.program.limits[number])
        yield Remembered(kind="limit", says=says, rules=rules, becomes="forgotten")


def _conditioned(bundle: Bundle, bits: int) -> str:
    """How atoms with conditions count in what was before."""
    if all(bundle.atoms[number].when is None for number in set_bits(bits)):
        return ""
    return "conditions count as possibly true of what was before (as untrue with `--past lenient`)"


def _monitor_note(bundle: Bundle, monitor: PastMonitor) -> str:
    parts = [f"judges live sessions by what is recorded of the last {HISTORY_DAYS} days"]
    if said := _conditioned(bundle, monitor.monitor.relevant):
        parts.append(said)
    if monitor.sliced is not None:
        parts.append("values are not recorded, so that what was before counts for every value")
    if monitor.reach_us is None:
        parts.append("what is older is unknown")
    return "; ".join(parts)


def _limit_note(bundle: Bundle, limit: Limit) -> str:
    if limit.counted == "denials":
        return "begins at 0: denials before it are not counted"
    if limit.counted == "sum":
        whole = "its whole scope" if limit.window.per_us is None else "its window"
        return (
            "amounts are not recorded, so that the sum is unknown (and the rule matches, where it restricts) for "
            f"{whole} after anything it counts"
        )
    parts = [f"counts what is recorded of the last {HISTORY_DAYS} days"]
    if said := _conditioned(bundle, limit.atom):
        parts.append(said)
    if limit.key is not None:
        parts.append("keys are not recorded, so that what was before counts for every key")
    return "; ".join(parts)


def _limit_text(bundle: Bundle, limit: Limit) -> str:
    what = bundle.measures[limit.amount].text if limit.amount is not None else limit.counted
    per = "" if limit.window.per_us is None else f" in {limit.window.per_us / 3_600_000_000:g} h"
    key = "" if limit.key is None else f" for each {bundle.measures[limit.key].text}"
    above = text_of(limit.above) if limit.counted == "sum" else limit.above
    return f"{'sum of ' if limit.counted == 'sum' else 'count of '}{what}{per}{key} per {limit.scope} above {above}"
