"""An owner whose rules escalate, principals who may approve, and a replica's part of the work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unit.actors.owners import Bench

from actors.active_bundle import ActiveBundle
from actors.approvals import approving
from actors.approvals import journal as approval_journal
from actors.approvals import requests as approvals
from actors.approvals.messages import ApprovalAct, ApprovalRequest, Narrowed, Viewer
from actors.approvals.task import Task
from actors.directory import Activation
from actors.messages import Decided
from actors.stops.live import Stop

CATALOG = """
kind: Catalog
tools:
  bank.pay: {effects: [pay], boundary: external, data: [], args: {to: {type: string, role: destination},
    amount: {type: decimal, role: quantity}}}
  bank.look: {effects: [read], boundary: internal, data: []}
---
"""
POLICY = """
kind: Policy
name: desk
authors: [user:writer]
rules:
  - {id: all, on: {tool: bank.*}, then: allow}
  - id: large
    on: {tool: bank.pay}
    when: args.amount > 1000.0
    then: escalate
    approve: {by: [role:treasury], quorum: 2, expires: 30m, then_to: {by: [role:board], after: 10m}}
    because: large transfers take two
"""
PEOPLE = {
    "user:anna": ["treasury"],
    "user:bert": ["treasury"],
    "user:cleo": ["treasury"],
    "user:dora": ["board"],
    "user:emil": [],
    "user:owner": ["treasury"],
    "user:writer": ["treasury"],
}


class ApprovalBench(Bench):
    """Attributes: next_revision: of the directory."""

    def setup(self, *more: str, policy: str = POLICY) -> ApprovalBench:
        self.people: dict[str, list[str]] = dict(PEOPLE)
        self.groups: dict[str, list[str]] = {}
        self.stopped = False
        self.activations = 1
        self.use(policy + "".join(more))
        self.renew_lease()
        self.register("bot", owner="user:owner")
        return self

    def use(self, policy: str) -> None:
        """Activate other rules."""
        self.activations += 1
        self.bundle = ActiveBundle.compile([("p.yaml", CATALOG + policy)])
        self.owner.adopt(self.bundle, Activation(self.bundle.digest, self.activations))

    def renew_lease(self) -> None:
        changes = [
            ("principal", f"default/{name.replace(':', '/')}", {
                "tenant": "default", "type": name.split(":")[0], "id": name.split(":")[1], "roles": roles,
                "groups": getattr(self, "groups", {}).get(name, []), "attributes": {}, "record_version": 1,
            })
            for name, roles in getattr(self, "people", PEOPLE).items()
        ]  # fmt: skip
        stop = Stop(
            id="stp_0",
            tenant="default",
            target_type="agent",
            target_id="bot",
            reason="r",
            by="k",
            created_us=0,
        )
        stopped = getattr(self, "stopped", False)
        changes.append(("stop", stop.id, stop.to_json() if stopped else None))
        self.directory.apply(0, (None, 0), changes, sent_s=self.world.monotonic_us / 1e6)

    def restart(self) -> None:
        """What SIGKILL and Ray do."""
        self.owner.journal.close()
        self.reopen()
        self.owner.adopt(self.bundle, Activation(self.bundle.digest, self.activations))

    def pass_s(self, seconds: float) -> None:
        self.world.pass_s(seconds)
        self.renew_lease()

    # -- the agent's part ------------------------------------------------------------------------------------------

    def pay(self, amount: float = 5000, approval: str | None = None, **more: Any) -> Decided:
        arguments = more.pop("arguments", {"amount": amount, "to": "DE89"})
        (decided,) = self.decided(self.request("bot", "bank.pay", arguments, approval=approval, **more))
        return decided

    def ask(self, decided: Decided, **more: Any) -> dict[str, Any]:
        assert decided.access is not None, decided
        values: dict[str, Any] = {
            "tenant": "default",
            "token": decided.access[0],
            "arguments": None,
            "arguments_digest": None,
            "justification": "",
            "key_id": "k",
        }
        answer = approvals.request(self.owner, tuple(ApprovalRequest(**(values | more))))
        task: dict[str, Any] = answer["task"]
        return task

    def asked(self, amount: float = 5000) -> str:
        """The id of a task for a payment."""
        return str(self.ask(self.pay(amount))["id"])

    # -- the approvers' part ---------------------------------------------------------------------------------------

    def act(self, identity: str, who: str, **more: Any) -> tuple[Any, ...]:
        values: dict[str, Any] = {
            "id": identity,
            "tenant": "default",
            "approver": who,
            "key_id": f"key-of-{who}",
            "comment": f"{who} says so",
        }
        return tuple(ApprovalAct(**(values | more)))

    def approve(self, identity: str, *who: str, **more: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for one in who:
            found = approving.approve(self.owner, self.act(identity, one, **more))
        return found

    def deny(self, identity: str, who: str) -> dict[str, Any]:
        return approving.deny(self.owner, self.act(identity, who))

    def delegate(self, identity: str, who: str, to: str, **more: Any) -> dict[str, Any]:
        return approving.delegate(self.owner, self.act(identity, who, to=to, **more))

    def narrowed(self, amount: float, of_amount: float = 5000) -> tuple[str | bytes, ...]:
        def digest(value: float) -> str:
            said = self.request("bot", "bank.pay", {"amount": value, "to": "DE89"})
            return said.arguments_digest.hex()

        return tuple(
            Narrowed(
                arguments=b'{"amount":%d,"to":"DE89"}' % amount,
                digest=digest(amount),
                evidence_digest="ee" * 32,
                masked="{}",
                of_digest=digest(of_amount),
            )
        )

    # -- what there is to see --------------------------------------------------------------------------------------

    def task(self, identity: str) -> Task:
        found = approval_journal.find(self.owner.journal, identity)
        assert found is not None
        return found

    def state(self, identity: str) -> str:
        return self.task(identity).state

    def events(self) -> list[str]:
        """The types of approval rows in evidence, in order."""
        return [row["event_type"] for row in self.rows() if row["event_type"].startswith("approval_")]

    def viewer(
        self, role: str = "approver", who: str | None = None, agents: tuple[str, ...] = ()
    ) -> tuple[Any, ...]:
        return tuple(Viewer("default", role, who, agents, ()))


def bench(folder: Path) -> ApprovalBench:
    return ApprovalBench(folder / "host-000.db", evidence_backlog=1_000_000).setup()
