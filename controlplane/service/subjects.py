"""What a replica remembers of registered subjects, so that most actions are prepared right the first time."""

from __future__ import annotations

import json
from collections import OrderedDict

from policies.action import Subject

_KEPT = 50_000
_Key = tuple[str, str, str]


class KnownSubjects:
    """Subjects with the version of their record, least recently used dropped first.

    The owner checks the version of each decision; when it differs it sends the current record along, which is all
    that ever fills this cache.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[_Key, tuple[int, Subject]] = OrderedDict()

    def get(self, tenant: str, subject_type: str, subject_id: str) -> tuple[int, Subject]:
        """(record version, subject); version 0 and no facts for one that is not known here."""
        key = (tenant, subject_type, subject_id)
        known = self._known.get(key)
        if known is None:
            return 0, Subject(type=subject_type, id=subject_id)
        self._known.move_to_end(key)
        return known

    def learn(
        self, tenant: str, subject_type: str, subject_id: str, version: int, record: str | None
    ) -> None:
        """Remember what an owner said; None = it knows no such subject."""
        key = (tenant, subject_type, subject_id)
        if record is None:
            self._known.pop(key, None)
            return
        facts = json.loads(record)
        self._known[key] = (
            version,
            Subject(
                type=subject_type,
                id=subject_id,
                labels=tuple(facts["labels"]),
                roles=tuple(facts["roles"]),
                groups=tuple(facts["groups"]),
                owner=facts["owner"],
                attributes=facts["attributes"],
            ),
        )
        if len(self._known) > _KEPT:
            self._known.popitem(last=False)
