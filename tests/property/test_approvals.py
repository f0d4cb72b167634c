"""Approvals against a naive reference, over thousands of races: an owner has one thread, so that a race is an order in
which approvers, stops, time, restarts and the agent come, and every order must come to what the reference says."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path

from unit.actors.approvals_bench import PEOPLE as ROLES
from unit.actors.approvals_bench import ApprovalBench, bench

from actors.approvals import requests as approvals
from actors.approvals.events import let_time_pass
from controlplane.errors import ConflictError, ForbiddenError, NotFoundError

ROUNDS = 3_000
PEOPLE = tuple(name for name in ROLES if name != "user:writer")
EXPIRES_S, THEN_TO_S, QUORUM = 1800, 600, 2


@dataclass
class Reference:
    """What one request for approval is, in as few words as possible."""

    roles: dict[str, list[str]]
    asked_us: int
    given: list[str] = field(default_factory=list)
    ended: str = ""
    uses: int = 0
    stopped: bool = False

    def expire(self, now_us: int) -> None:
        if not self.ended and not self.uses and now_us >= self.asked_us + EXPIRES_S * 1_000_000:
            self.ended = "expired"

    def may(self, who: str, now_us: int) -> bool:
        roles = self.roles[who]
        late = now_us >= self.asked_us + THEN_TO_S * 1_000_000
        return who != "user:owner" and ("treasury" in roles or (late and "board" in roles))

    def counting(self) -> list[str]:
        return [one for one in self.given if {"treasury", "board"} & set(self.roles[one])]

    def approve(self, who: str, now_us: int) -> bool:
        self.expire(now_us)
        if self.ended or self.approved or not self.may(who, now_us):
            return False
        standing = self.counting()
        if who in standing:
            return False
        self.given = [*standing, who]
        return True

    def deny(self, who: str, now_us: int) -> bool:
        self.expire(now_us)
        concerned = bool({"treasury", "board"} & set(self.roles[who]))
        if self.ended or self.uses or not concerned:
            return False
        self.ended = "denied"
        return True

    @property
    def approved(self) -> bool:
        return len(self.given) >= QUORUM

    def use(self, now_us: int) -> bool:
        """Whether an action that names it now is permitted."""
        self.expire(now_us)
        if self.stopped or self.ended or self.uses or not self.approved or len(self.counting()) < QUORUM:
            return False
        self.uses += 1
        return True


def fast(desk: ApprovalBench) -> None:
    """A crash of the machine is not what these rounds are about."""
    connection = desk.owner.journal._connection
    assert connection is not None
    connection.execute("PRAGMA synchronous=OFF")


def test_whoever_comes_first_the_reference_says_what_comes_of_it(tmp_path: Path) -> None:
    dice = random.Random(20_261_124)
    desk = bench(tmp_path)
    fast(desk)
    for number in range(ROUNDS):
        one_round(desk, dice, 2000 + number)


def one_round(desk: ApprovalBench, dice: random.Random, amount: int) -> None:
    desk.people |= ROLES
    desk.stopped = False
    desk.renew_lease()
    identity = desk.asked(amount)
    reference = Reference(desk.people, desk.world.wall_us)
    permitted = 0
    for _ in range(dice.randint(4, 9)):
        now_us = desk.world.wall_us
        who = dice.choice(PEOPLE)
        match dice.choices(
            ["approve", "deny", "use", "time", "role", "stop", "tidy", "restart"], [9, 1, 5, 3, 2, 2, 1, 0.3]
        )[0]:
            case "approve":
                assert done(lambda who=who: desk.approve(identity, who)) is reference.approve(who, now_us)  # type: ignore[misc]
            case "deny":
                assert done(lambda who=who: desk.deny(identity, who)) is reference.deny(who, now_us)  # type: ignore[misc]
            case "use":
                # The same action several times in one batch: at most one of them is permitted.
                request = desk.request("bot", "bank.pay", {"amount": amount, "to": "DE89"}, approval=identity)
                found = [one.effect == "allow" for one in desk.decided(*[request] * dice.randint(1, 3))]
                expected = reference.use(now_us)
                assert found[0] is expected and not any(found[1:])
                permitted += sum(found)
            case "time":
                # Often to the very moment at which it expires.
                left_s = (reference.asked_us - now_us) / 1e6 + EXPIRES_S
                steps = [1.0, 300.0, 601.0] + ([left_s, left_s - 1e-6] if left_s > 1 else [])
                desk.pass_s(dice.choice(steps))
            case "role":
                desk.people[who] = dice.choice([["treasury"], ["board"], []])
                desk.renew_lease()
            case "stop":
                # An approval waits out a stop of its agent: it permits nothing meanwhile, and is not used up.
                desk.stopped = reference.stopped = not reference.stopped
                desk.renew_lease()
            case "tidy":
                let_time_pass(desk.owner)
            case "restart":
                desk.restart()
                fast(desk)
    assert permitted == reference.uses <= 1
    desk.pass_s(0)
    let_time_pass(desk.owner)
    reference.expire(desk.world.wall_us)
    task = desk.task(identity)
    assert bool(task.used_by) is bool(reference.uses)
    if reference.ended:
        assert task.state == reference.ended
    else:
        assert task.state == ("approved" if reference.approved else "pending")
    if task.open:
        approvals.cancel(desk.owner, desk.viewer("agent", agents=("bot",)), identity, "k", "")


def done(call: object) -> bool:
    try:
        call()  # type: ignore[operator]
    except (ConflictError, ForbiddenError, NotFoundError):
        return False
    return True
