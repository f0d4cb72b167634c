"""What is wrong or odd about how a catalog has evidence keep the arguments of one resource."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from policies.documents import CatalogDocument, ResourceDocument
from policies.error import PolicyError, did_you_mean
from policies.keeping import Mode, overlapping, read_subject
from policies.keeping_documents import read_keeping
from policies.located import Located
from policies.modification.places import steps_of

_HOLDING = frozenset(("list", "object", "any"))


def keeping_errors(
    located: Located[CatalogDocument], entry: ResourceDocument, path: Sequence[str]
) -> Iterator[PolicyError]:
    """What cannot be obeyed."""
    said = entry.evidence
    if said is None:
        return
    for pointer in said.arguments:
        keeping = read_keeping(said, pointer)
        if keeping.mode is Mode.ENCRYPT and keeping.subject is None:
            yield located.error(
                (*path, "evidence", "arguments", pointer),
                "encrypt_without_subject",
                f"`{pointer}` is to be encrypted, and nothing says whose data it is",
                "write `subject: customer:/customer_id` beside `arguments`, or `{encrypt: customer:/customer_id}`",
            )
    for outer, inner in overlapping(said.arguments):
        yield located.error(
            (*path, "evidence", "arguments", inner),
            "overlapping_pointers",
            f"`{inner}` stands inside `{outer}`, which is kept as a whole",
            "name the parts of it, or all of it",
            at_key=True,
        )


def keeping_warnings(
    located: Located[CatalogDocument], entry: ResourceDocument, path: Sequence[str]
) -> Iterator[PolicyError]:
    """What is obeyed, and probably not meant."""
    said = entry.evidence
    if said is None:
        return
    for pointer in said.arguments:
        at = (*path, "evidence", "arguments", pointer)
        if odd := _unlisted(entry, steps_of(pointer)):
            yield located.error(
                at, "unlisted_evidence_argument", f"`{pointer}`: {odd[0]}", odd[1], at_key=True
            )
        argument = (entry.args or {}).get(steps_of(pointer)[0])
        if (
            argument is not None
            and argument.role == "secret"
            and read_keeping(said, pointer).mode is Mode.KEEP
        ):
            message = f"`{pointer}` is a secret, and evidence keeps it in clear for whoever reads the table"
            yield located.error(at, "secret_kept", message, "write `mask` or `digest`")
    places = [((*path, "evidence", "subject"), said.subject)] if said.subject is not None else []
    places += [
        ((*path, "evidence", "arguments", pointer, "encrypt"), one.subject)
        for pointer, one in said.arguments.items()
        if one.subject is not None
    ]
    for place, text in places:
        subject = read_subject(text)
        if subject is not None and subject.steps and (odd := _unlisted(entry, subject.steps)):
            message = f"the subject `{text}`: {odd[0]}; what is encrypted for it is masked"
            yield located.error(place, "unlisted_evidence_argument", message, odd[1])


def _unlisted(entry: ResourceDocument, steps: Sequence[str]) -> tuple[str, str] | None:
    """(why no argument can stand there, a hint)."""
    if entry.args is None:
        return None
    argument = entry.args.get(steps[0])
    if argument is None:
        return f"`args` does not list `{steps[0]}`", did_you_mean(steps[0], entry.args)
    if len(steps) > 1 and argument.type not in _HOLDING:
        return f"`{steps[0]}` is of the type {argument.type}, which has no parts", ""
    return None
