"""What is fleet-wide and versioned: keys, principals, the agents' index, bundles, which one is active, stops. No Ray.

`changes` hands out what is newer than a given revision (see `actors.entries`), which is how the fleet keeps its leased
copies (see `actors.directory`).
"""

from __future__ import annotations

import json
from collections import deque
from pathlib import Path
from typing import Any

from actors import api_keys, evidence_rows
from actors.alarms.entries import AlarmEntries
from actors.bounds import EVIDENCE_BACKLOG
from actors.data_keys import DATA_KEYS, DataKeyEntries
from actors.directory import Activation
from actors.entries import ENTRIES, Entries
from actors.ids import agent_key
from actors.journal import Journal
from actors.notifications.entries import ChannelEntries
from actors.owner import Surroundings
from actors.placement import FIRST_DEDICATED_ORDINAL, dedicated_name
from actors.retention.entries import RetentionEntries
from actors.stops.registry import StopRegistry
from controlplane.errors import ConflictError, NotFoundError, UnavailableError

SCHEMA = (
    ENTRIES
    + DATA_KEYS
    + """
CREATE TABLE IF NOT EXISTS bundles (
    digest TEXT PRIMARY KEY, name TEXT NOT NULL, rules INTEGER NOT NULL, sources TEXT NOT NULL,
    created_us INTEGER NOT NULL) WITHOUT ROWID;
"""
)

_SUMMARIES_REMEMBERED = 10_000

# What replicas and hosts hold a copy of. The index of agents is not among it: it is as large as the fleet.
SHADOW = "bundle"
"""Under which id the directory says which bundle is the shadow."""
_LEASED = ("key", "principal", "dedicated", "shadow")


def open_control_journal(path: Path, *, new_log_id: str) -> Journal:
    return Journal.open(path, new_log_id=new_log_id, schema=SCHEMA)


class Control:
    """The fleet's registry over one journal. Not thread-safe. Every change is durable when its method returns,
    and leaves a row in the evidence log ``control``.

    Args:
        second_operator: see `StopRegistry`.
        evidence_backlog: how many rows may wait to land before what no operator does is recorded no more.
    """

    def __init__(
        self,
        journal: Journal,
        world: Surroundings,
        *,
        second_operator: bool = False,
        evidence_backlog: int = EVIDENCE_BACKLOG,
    ) -> None:
        self.journal = journal
        self.world = world
        self._entries = Entries(journal, world)
        self.stops = StopRegistry(journal, self._entries, world.random_bytes, second_operator=second_operator)
        self.activation = Activation(
            journal.meta("active_digest", "") or None,
            journal.meta("activation", 0),
            bool(journal.meta("activation_lenient", 0)),
        )
        self._summaries_seen: deque[str] = deque(maxlen=_SUMMARIES_REMEMBERED)
        self._evidence_backlog = evidence_backlog
        self.channels = ChannelEntries(journal, self._entries, self.refuse_backlog)
        self.alarms = AlarmEntries(journal, self._entries, self.refuse_backlog)
        self.retention = RetentionEntries(journal, self._entries, world.random_bytes)
        self.data_keys = DataKeyEntries(journal, self._entries, self.refuse_backlog)

    @property
    def revision(self) -> int:
        """Of the last change."""
        return self._entries.revision

    def refuse_backlog(self) -> None:
        """Asked before what no operator does. What operators do is never refused: a revocation must always be possible.

        Raises: UnavailableError: as much evidence waits to land as may.
        """
        if self.journal.pending_count() >= self._evidence_backlog:
            raise UnavailableError(
                "too much evidence of the log `control` waits to land", code="evidence_backlog"
            )

    # -- leases ------------------------------------------------------------------------------------------------

    def changes(
        self, since: int
    ) -> tuple[int, tuple[str | None, int, bool], list[tuple[str, str, dict[str, Any] | None]]]:
        """(revision, active bundle, what changed since). Cost: a look-up, and an index range where something changed.

        Raises: FencedError: another control store has the journal.
        """
        # INVARIANT (single owner): whoever was superseded may have missed a stop, and vouches for nobody's copy.
        self.journal.refuse_fenced()
        if since >= self.revision:
            return self.revision, self.activation.to_tuple(), []
        changed = [*self._entries.newer(since, _LEASED), *self.stops.changes(since)]
        return self.revision, self.activation.to_tuple(), changed

    # -- keys --------------------------------------------------------------------------------------------------

    def create_key(
        self,
        *,
        tenant: str,
        role: str,
        agents: list[str],
        subjects: list[str],
        grants: list[str],
        note: str,
        expires_in_s: int | None,
        by: str,
        rate_per_s: int | None = None,
    ) -> dict[str, Any]:
        """Create an API key. Returns the entry without its hash, and ``key``: the secret, which is kept nowhere."""
        identity, key = api_keys.mint(self.world.random_bytes)
        now_us = self._entries.now_us()
        entry = {
            "tenant": tenant,
            "role": role,
            "agents": agents,
            "subjects": subjects,
            "grants": grants,
            "note": note,
            "rate_per_s": rate_per_s,
            "hash": api_keys.hash_of(key),
            "created_us": now_us,
            "expires_us": None if expires_in_s is None else now_us + expires_in_s * 1_000_000,
            "revoked_us": None,
        }
        details = {
            "key": identity,
            "role": role,
            "agents": agents,
            "subjects": subjects,
            "grants": grants,
            "rate_per_s": rate_per_s,
            "by": by,
        }
        with self._entries.change("key_created", tenant, details, now_us) as step:
            self._entries.put(step, "key", identity, entry)
        return {"id": identity, "key": key, **_public_key(entry)}

    def ensure_operator_key(self, key: str) -> bool:
        """Make `key`, which stands in the data directory, an operator's, unless it is known already.

        Returns: whether it is good. One that was revoked stays revoked: remove its file to get another.
        """
        parts = api_keys.split(key)
        if parts is None:
            raise ConflictError("the operator key in the data directory is not a key", code="invalid_key")
        identity, key_hash = parts
        known = self._entries.get("key", identity)
        if known is not None:
            return api_keys.verify(known, key_hash, now_us=self._entries.now_us()) is None
        now_us = self._entries.now_us()
        entry = {
            "tenant": "default",
            "role": "operator",
            "agents": [],
            "subjects": [],
            "grants": ["workflows"],
            "note": "written by `controlplane up`",
            "hash": key_hash,
            "created_us": now_us,
            "expires_us": None,
            "revoked_us": None,
        }
        details = {"key": identity, "role": "operator", "by": "data directory"}
        with self._entries.change("key_created", "default", details, now_us) as step:
            self._entries.put(step, "key", identity, entry)
        return True

    def revoke_key(self, identity: str, *, tenant: str, by: str) -> dict[str, Any]:
        """Revoke a key; the fleet has missed it by two seconds from now at the latest. Idempotent."""
        entry = self._entries.get("key", identity)
        if entry is None or entry["tenant"] != tenant:
            raise NotFoundError(f"no key `{identity}`", code="unknown_key")
        if not entry["revoked_us"]:
            now_us = self._entries.now_us()
            entry["revoked_us"] = now_us
            with self._entries.change("key_revoked", tenant, {"key": identity, "by": by}, now_us) as step:
                self._entries.put(step, "key", identity, entry)
        return {"id": identity, **_public_key(entry)}

    def record_refusals(self, *, summaries: list[dict[str, Any]]) -> int:
        """One evidence row for each key and minute in which a replica refused it for asking too often.

        Args:
            summaries: what to say of each: ``tenant``, ``id`` (the replica's, so that one that is sent twice counts
                once) and ``details``.
        Returns: how many were new.
        Raises: UnavailableError: too much evidence waits to land. What only an operator does is never refused for it.
        """
        self.refuse_backlog()
        fresh = [one for one in summaries if one["id"] not in self._summaries_seen]
        if not fresh:
            return 0
        now_us = self._entries.now_us()
        with self.journal.transaction() as step:
            for one in fresh:
                step.append(
                    evidence_rows.event(
                        event_id=self._entries.event_id(now_us),
                        event_type="rate_limited",
                        time_us=now_us,
                        tenant=one["tenant"],
                        details=one["details"],
                    )
                )
            step.set_meta("event_time_us", now_us)
        self._summaries_seen.extend(one["id"] for one in fresh)
        return len(fresh)

    def keys(self, tenant: str) -> list[dict[str, Any]]:
        return [
            {"id": identity, **_public_key(entry)}
            for identity, entry in self._entries.all("key")
            if entry["tenant"] == tenant
        ]

    # -- principals and agents ---------------------------------------------------------------------------------

    def set_principal(
        self,
        *,
        tenant: str,
        subject_type: str,
        subject_id: str,
        roles: list[str],
        groups: list[str],
        attributes: dict[str, Any],
        by: str,
    ) -> dict[str, Any]:
        """Create or replace a principal: somebody other than an agent whom policies may speak of."""
        now_us = self._entries.now_us()
        entry: dict[str, Any] = {
            "tenant": tenant,
            "type": subject_type,
            "id": subject_id,
            "roles": roles,
            "groups": groups,
            "attributes": attributes,
            "record_version": self.revision + 1,
        }
        details = {"principal": f"{subject_type}:{subject_id}", "roles": roles, "groups": groups, "by": by}
        with self._entries.change("principal_set", tenant, details, now_us) as step:
            self._entries.put(step, "principal", agent_key(tenant, subject_type, subject_id), entry)
        return entry

    def principals(self, tenant: str) -> list[dict[str, Any]]:
        return [entry for _, entry in self._entries.all("principal") if entry["tenant"] == tenant]

    def claim_agent(
        self, *, tenant: str, agent_id: str, isolation: str | None, owner: str | None, by: str
    ) -> dict[str, Any]:
        """Enter an agent into the index. Its isolation is fixed from now on, or its past would be left behind.

        Args:
            isolation: None = as it is; hosted for a new agent.
            owner: None = as it is.
        Returns: the index entry; for a dedicated agent with its actor's ``name`` and its log's ``ordinal``.
        Raises: ConflictError: it was registered with another isolation.
        """
        key = agent_key(tenant, "agent", agent_id)
        known = self._entries.get("agent", key)
        isolation = isolation or (known["isolation"] if known else "hosted")
        owner = owner if owner is not None or known is None else known["owner"]
        if known is not None and known["isolation"] != isolation:
            raise ConflictError(
                f"agent `{agent_id}` is registered with isolation `{known['isolation']}`, which cannot be changed: "
                "its past lives there; register a new agent instead",
                code="isolation_fixed",
                expected=known["isolation"],
                found=isolation,
            )
        if known is not None and known["owner"] == owner:
            return known
        entry: dict[str, Any] = {"tenant": tenant, "id": agent_id, "isolation": isolation, "owner": owner}
        if isolation == "dedicated":
            next_ordinal = int(self.journal.meta("next_ordinal", FIRST_DEDICATED_ORDINAL))
            entry |= {"name": dedicated_name(key), "ordinal": known["ordinal"] if known else next_ordinal}
        details = {"agent": agent_id, "isolation": isolation, "owner": owner, "by": by}
        with self._entries.change("agent_claimed", tenant, details, self._entries.now_us()) as step:
            self._entries.put(step, "agent", key, entry)
            if isolation == "dedicated":
                self._entries.put(step, "dedicated", key, entry)
                step.set_meta("next_ordinal", max(entry["ordinal"] + 1, next_ordinal))
        return entry

    def agents(self, tenant: str, *, after: str, limit: int) -> list[dict[str, Any]]:
        """The index of agents in the order of their ids, `limit` at a time, after the id `after`."""
        rows = self.journal.read(
            "SELECT value FROM entries WHERE kind = 'agent' AND id > ? AND id < ? ORDER BY id LIMIT ?",
            (agent_key(tenant, "agent", after), agent_key(tenant, "agent", "\U0010ffff"), limit),
        )
        return [json.loads(value) for (value,) in rows]

    def dedicated(self) -> list[dict[str, Any]]:
        return [entry for _, entry in self._entries.all("dedicated")]

    # -- bundles -----------------------------------------------------------------------------------------------

    def store_bundle(
        self, *, digest: str, name: str, rules: int, sources: list[tuple[str, str]], tenant: str, by: str
    ) -> None:
        """Keep a validated bundle's sources under its digest. Immutable; idempotent."""
        if self.journal.read("SELECT 1 FROM bundles WHERE digest = ?", (digest,)):
            return
        now_us = self._entries.now_us()
        with self._entries.change(
            "bundle_stored", tenant, {"name": name, "rules": rules, "by": by}, now_us, digest
        ) as step:
            step.execute(
                "INSERT INTO bundles VALUES (?, ?, ?, ?, ?)",
                (digest, name, rules, json.dumps(sources), now_us),
            )

    def bundle(self, digest: str) -> dict[str, Any]:
        """A stored bundle with its sources. Raises: NotFoundError."""
        rows = self.journal.read(
            "SELECT digest, name, rules, sources, created_us FROM bundles WHERE digest = ?", (digest,)
        )
        if not rows:
            raise NotFoundError(f"no bundle `{digest}`; upload it first", code="unknown_bundle")
        found, name, rules, sources, created_us = rows[0]
        return {
            "digest": found,
            "name": name,
            "rules": rules,
            "sources": json.loads(sources),
            "created_us": created_us,
        }

    def bundles(self) -> list[dict[str, Any]]:
        rows = self.journal.read("SELECT digest, name, rules, created_us FROM bundles ORDER BY created_us")
        return [{"digest": d, "name": n, "rules": r, "created_us": c} for d, n, r, c in rows]

    def activate(self, digest: str, *, tenant: str, by: str, lenient: bool = False) -> Activation:
        """Make a stored bundle the active one. Activating the active one again changes nothing.

        Args:
            lenient: see `Activation`.
        Raises: NotFoundError: it is not stored.
        """
        name = self.bundle(digest)["name"]
        if digest == self.activation.digest:
            return self.activation
        activation = Activation(digest, self.activation.number + 1, lenient)
        details = {
            "name": name,
            "activation": activation.number,
            "replaces": self.activation.digest,
            "past": "lenient" if lenient else "strict",
            "by": by,
        }
        with self._entries.change(
            "bundle_activated", tenant, details, self._entries.now_us(), digest
        ) as step:
            step.set_meta("active_digest", digest)
            step.set_meta("activation", activation.number)
            step.set_meta("activation_lenient", int(lenient))
        self.activation = activation
        return activation

    def cast_shadow(self, *, digest: str | None, tenant: str, by: str) -> dict[str, Any]:
        """Have a stored bundle watch beside the active one; None = none. Nothing is enforced by it.

        Raises: NotFoundError: it is not stored.
        """
        if digest is not None:
            self.bundle(digest)
        known = self._entries.get("shadow", SHADOW)
        replaced = known["digest"] if known else None
        if replaced != digest:
            details = {"replaces": replaced, "by": by}
            with self._entries.change(
                "bundle_shadowed", tenant, details, self._entries.now_us(), digest
            ) as step:
                self._entries.put(step, "shadow", SHADOW, {"digest": digest})
        return {"shadow": digest, "replaces": replaced if replaced != digest else None}


def _public_key(entry: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in entry.items() if name != "hash"}
