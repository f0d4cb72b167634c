"""A shadow bundle says in evidence what it would have answered, and changes no answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from unit.actors.test_past_at_owner import NO_PII_OUT, SCAN_FIRST, Story, compiled

from actors import outcomes
from actors.active_bundle import ActiveBundle
from actors.messages import Decided, Outcome, Shadowed
from actors.shadowing import Shadow
from policies.action import Action, Resource, Subject
from policies.asked.basis import Basis
from policies.asked.scope import read_scope
from policies.prepare import Preparer


class ShadowedStory(Story):
    """A story whose actions are prepared with a shadow bundle as well."""

    def __init__(self, path: Path, shadow: ActiveBundle, *rules: str) -> None:
        super().__init__(path, *rules)
        self.shadow = shadow
        self.cast()

    def cast(self) -> None:
        self.bench.owner.shadow = Shadow.cast(self.bench.owner, self.shadow)

    def act(self, tool: str, **arguments: Any) -> tuple[Decided, dict[str, Any] | None]:
        """The decision, and what evidence says of the shadow."""
        prepared = Preparer(self.shadow.bundle).prepare(
            Action(
                tenant="default",
                subject=Subject(type="agent", id="bot"),
                name="call",
                resource=Resource(type="tool", id=tool),
                arguments=arguments,
                now_us=self.bench.world.wall_us,
            )
        )
        shadow = Shadowed(
            self.shadow.digest,
            prepared.possibly,
            prepared.certainly,
            prepared.refusal,
            prepared.measures,
            objects=prepared.objects,
        )
        request = self.bench.request(tool=tool, arguments=arguments, shadow=tuple(shadow))
        (decided,) = self.bench.decided(request)
        details = orjson.loads(self.bench.rows()[-1].get("details") or b"{}")
        return decided, details.get("shadow")


def test_what_it_would_have_answered_is_recorded_and_not_enforced(tmp_path: Path) -> None:
    story = ShadowedStory(tmp_path / "j.db", compiled(NO_PII_OUT))
    _, first = story.act("crm.read", id="7")
    assert first == {"bundle": story.shadow.digest, "decision": "allow", "rules": ["p/all"]}
    sent, second = story.act("mail.send", to="a@b.example")
    assert sent.effect == "allow"
    assert second == {"bundle": story.shadow.digest, "decision": "deny", "rules": ["p/no-pii-out"]}


def test_its_past_is_what_the_active_bundle_permitted(tmp_path: Path) -> None:
    no_read = "  - {id: no-read, on: {tool: crm.read}, then: deny}\n"
    story = ShadowedStory(tmp_path / "j.db", compiled(NO_PII_OUT), no_read)
    denied, would = story.act("crm.read", id="7")
    assert (denied.effect, would and would["decision"]) == ("deny", "allow")
    _, would = story.act("mail.send", to="a@b.example")
    assert would is not None and would["decision"] == "allow"


def test_it_knows_what_happened_before_it_and_while_nobody_prepared_for_it(tmp_path: Path) -> None:
    story = ShadowedStory(tmp_path / "j.db", compiled(NO_PII_OUT))
    assert story.act("mail.send", to="a@b.example")[1] is not None
    story.do("crm.read", id="7")  # a replica that has not loaded it yet
    assert story.act("mail.send", to="a@b.example")[1] == {
        "bundle": story.shadow.digest,
        "decision": "deny",
        "rules": ["p/no-pii-out"],
    }


def test_its_past_survives_a_restart_and_hears_of_outcomes(tmp_path: Path) -> None:
    story = ShadowedStory(tmp_path / "j.db", compiled(SCAN_FIRST))
    scan, _ = story.act("dlp.scan")
    story.restart()
    story.cast()
    outcomes.report_outcome(
        story.bench.owner, Outcome(scan.id, "succeeded", True, (), None, None, "k", False)
    )
    story.restart()
    story.cast()
    _, would = story.act("mail.send", to="a@b.example")
    assert would is not None and would["decision"] == "allow"


def test_another_shadow_begins_with_the_record(tmp_path: Path) -> None:
    story = ShadowedStory(tmp_path / "j.db", compiled(SCAN_FIRST))
    story.act("crm.read", id="7")
    story.shadow = compiled(NO_PII_OUT)
    story.cast()
    _, would = story.act("mail.send", to="a@b.example")
    assert would is not None and would["decision"] == "deny"


def test_what_goes_wrong_with_it_changes_no_decision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    story = ShadowedStory(tmp_path / "j.db", compiled(NO_PII_OUT))

    def fail(*_: object, **__: object) -> None:
        raise ValueError("broken")

    assert story.bench.owner.shadow is not None
    with monkeypatch.context() as patched:
        patched.setattr(story.bench.owner.shadow.pasts, "of", fail)
        decided, would = story.act("crm.read", id="7")
    assert (decided.effect, would) == ("allow", None)
    assert story.act("mail.send", to="a@b.example")[1] is not None


def test_it_asks_what_the_session_is_for_though_the_active_bundle_does_not(tmp_path: Path) -> None:
    off_task = "  - {id: off-task, on: {effect: send}, asked: no, then: deny}"
    story = ShadowedStory(tmp_path / "j.db", compiled(off_task))
    agent = story.bench.owner.agent("default/agent/bot")
    session = story.bench.owner.standing_session(agent, story.bench.world.wall_us)
    for scope, rules in (({"objects": ["a@b.example"]}, ["p/all"]), ({"effects": ["read"]}, ["p/off-task"])):
        session.basis = Basis(scope=read_scope(scope))
        _, watched = story.act("mail.send", to="a@b.example")
        assert watched is not None and watched["rules"] == rules
