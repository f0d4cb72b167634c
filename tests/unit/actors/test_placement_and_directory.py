"""Where agents live never changes, and a lease ends two seconds after it was asked for."""

from __future__ import annotations

import pickle

from actors.directory import Activation, Directory
from actors.placement import dedicated_name, host_of, journals_resource, node_of
from actors.records import AgentRecord
from controlplane.errors import ConflictError


def test_placement_is_the_same_in_every_process_and_version() -> None:
    # Fixed values: a change of these would leave every agent's past behind.
    assert [host_of(f"default/agent/a{n}", 4) for n in range(8)] == [0, 1, 3, 0, 3, 2, 1, 0]
    assert dedicated_name("default/agent/a") == "agent-9384b756d16bb6c9"


def test_a_lease_counts_from_when_it_was_asked_for() -> None:
    directory = Directory()
    assert not directory.fresh(now_s=0)
    directory.apply(1, (None, 0), [], sent_s=10.0)
    assert directory.fresh(now_s=12.0)
    assert not directory.fresh(now_s=12.1)


def test_an_older_activation_does_not_undo_a_newer_one() -> None:
    directory = Directory()
    directory.apply(1, ("sha256:new", 2), [], sent_s=0)
    directory.apply(1, ("sha256:old", 1), [], sent_s=0)
    assert directory.activation == Activation("sha256:new", 2)


def test_a_lease_that_was_overtaken_brings_back_nothing() -> None:
    directory = Directory()
    directory.apply(11, (None, 0), [("principal", "p", {"roles": []})], sent_s=1)
    directory.apply(10, (None, 0), [("principal", "p", {"roles": ["treasury"]})], sent_s=0)
    assert directory.get("principal", "p") == {"roles": []}


def test_changes_replace_what_was_known() -> None:
    directory = Directory()
    directory.apply(1, (None, 0), [("key", "k", {"role": "agent"})], sent_s=0)
    directory.apply(2, (None, 0), [("key", "k", {"role": "operator"})], sent_s=0)
    assert directory.get("key", "k") == {"role": "operator"}
    assert directory.get("key", "other") is None


def test_a_record_survives_json() -> None:
    record = AgentRecord(
        tenant="t", id="a", labels=("x",), attributes={"n": 1}, tools=("t1",), record_version=3
    )
    assert AgentRecord.from_json(record.to_json()) == record


def test_errors_survive_pickling_with_their_fields() -> None:
    error = pickle.loads(pickle.dumps(ConflictError("taken", code="c", expected=1, found=2)))
    assert (error.message, error.code, error.fields) == ("taken", "c", {"expected": 1, "found": 2})


def test_owners_are_spread_over_the_nodes_in_a_way_that_never_changes() -> None:
    # Fixed values: a change of these would look for every journal on another machine.
    assert "".join(node_of(ordinal, "abc") for ordinal in (0, 1, 2, 3, 4096, 4097)) == "abcabc"
    assert journals_resource("a") == "journals-a"
