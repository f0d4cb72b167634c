"""Which key signs when: the pinned one, and those that signed rotations link to it. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from evidence.note import Note, NoteError, PublicKey
from evidence.rotation import Rotation
from evidence.verify.faults import Faults, UnreadableError


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyChain:
    """The keys of one deployment in the order in which they were in force.

    Attributes:
        name: of the deployment: the first part of every origin.
        keys: oldest first.
        since: the version of the table in which each of them signs for the first time; 0 for the first.
    """

    name: str
    keys: tuple[PublicKey, ...]
    since: tuple[int, ...]

    def at(self, version: int) -> tuple[PublicKey, ...]:
        """Those that may sign a commit of this version: one, unless several were pinned and none ever replaced."""
        if len(self.keys) > 1 and not any(self.since):
            return self.keys
        return (self.keys[bisect_right(self.since, version) - 1],)


def key_chain(pinned: Sequence[PublicKey], rotations: Sequence[tuple[int, Note]], faults: Faults) -> KeyChain:
    """Order the keys by the rotations that the commits carry.

    A rotation is signed by both keys, so that it vouches for the older one as well as for the newer: any one of the
    chain, pinned, is enough. One that is not signed by both, or does not begin where the last one ended, is a fault
    and changes nothing.

    Args: rotations: with the version of the commit that carries each, ascending.
    Raises: UnreadableError: the pinned keys are of several deployments.
    """
    name = pinned[0].name
    if any(key.name != name for key in pinned):
        raise UnreadableError(
            "the keys given are of several deployments: " + ", ".join(sorted({k.name for k in pinned}))
        )
    steps: list[tuple[int, Rotation]] = []
    for version, note in rotations:
        try:
            step = Rotation.verified(note)
        except NoteError as error:
            faults.add("checkpoint_forged", f"version {version}: {error.message}", version=version)
            continue
        seen = [steps[0][1].old, *(each.new for _, each in steps)] if steps else []
        if (step.old, step.new) in pairwise(seen):
            continue  # told again
        if step.old.name != name or (seen and (step.old != seen[-1] or step.new in seen)):
            faults.add(
                "checkpoint_forged",
                f"version {version} replaces the key {step.old.id.hex()}, which was not in force then",
                version=version,
            )
            continue
        steps.append((version, step))
    if not steps:
        return KeyChain(name=name, keys=tuple(pinned), since=(0,) * len(pinned))
    keys = (steps[0][1].old, *(step.new for _, step in steps))
    if not set(keys) & set(pinned):
        faults.add(
            "key_unknown",
            f"version {steps[0][0]} hands over from {keys[0].id.hex()} to {keys[1].id.hex()}: no rotation links them "
            "to a key that was given",
            version=steps[0][0],
        )
        return KeyChain(name=name, keys=tuple(pinned), since=(0,) * len(pinned))
    return KeyChain(name=name, keys=keys, since=(0, *(version for version, _ in steps)))


def signed(
    note: Note,
    chain: KeyChain,
    allowed: Sequence[PublicKey],
    faults: Faults,
    *,
    where: str,
    version: int | None,
    log_id: str | None,
    file: str | None = None,
) -> bool:
    """Whether one of the allowed keys signed a note; if not, a fault says in what way.

    Args: where: of the note, for the fault's message. Cost: 60 µs.
    """
    try:
        for key in allowed:
            if note.signed_by(key.named(note.origin)):
                return True
        late = [key for key in chain.keys if note.signed_by(key.named(note.origin))]
    except NoteError as error:
        faults.add(
            "checkpoint_forged", f"{where}: {error.message}", version=version, log_id=log_id, file=file
        )
        return False
    if late:
        faults.add(
            "checkpoint_forged",
            f"{where} is signed by {late[0].id.hex()}, a key that was not in force there",
            version=version,
            log_id=log_id,
            file=file,
        )
    else:
        found = ", ".join(sorted(each.key_id.hex() for each in note.signatures))
        faults.add(
            "key_unknown",
            f"{where} is signed by no key that was given or that a rotation leads to: key ids {found}",
            version=version,
            log_id=log_id,
            file=file,
        )
    return False
