"""docs/channels.md: its program verifies our signatures, its numbers are the code's."""

from __future__ import annotations

import re
import shlex
import time
from pathlib import Path
from typing import Any, get_args

import pytest
from typer.testing import CliRunner

from actors.notifications import delivery_journal, retries, signature
from actors.notifications.channels import MOST_CHANNELS
from actors.notifications.http_delivery import ANSWER_S
from actors.notifications.notice import TEST, Event
from actors.notifications.sending import AT_ONCE
from controlplane.cli.app import app
from controlplane.service.management.channel_bodies import NewChannel

PAGE = (Path(__file__).parents[3] / "docs" / "channels.md").read_text(encoding="utf-8")
SECRET = signature.new_secret(bytes(32))


@pytest.fixture(scope="module")
def verified() -> Any:
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {}
    exec(program, names)
    return names["verified"]


def signed(body: bytes, *, age_s: int = 0) -> dict[str, str]:
    return signature.headers(SECRET, delivery="msg_1", now_s=int(time.time()) - age_s, body=body)


def test_the_program_of_the_page_takes_what_we_sign_and_nothing_else(verified: Any) -> None:
    assert verified(SECRET, signed(b"{}"), b"{}")
    assert not verified(SECRET, signed(b"{}"), b"{ }")
    assert not verified(SECRET, signed(b"{}") | {"webhook-id": "msg_2"}, b"{}")
    assert not verified(signature.new_secret(bytes([1] * 32)), signed(b"{}"), b"{}")
    assert not verified(SECRET, signed(b"{}", age_s=3_600), b"{}")
    two = signed(b"{}")
    two["webhook-signature"] = "v1,other " + two["webhook-signature"]
    assert verified(SECRET, two, b"{}")


COMMANDS = re.findall(r"^controlplane (?:\\\n|.)+$", PAGE, re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_page_has_the_options_that_it_is_given(command: str) -> None:
    words = shlex.split(command.replace("\\\n", " "), comments=True)[1:]
    group = words[: 3 if words[1] == "values" else 2]
    told = CliRunner().invoke(app, [*group, "--help"])
    assert told.exit_code == 0
    assert all(re.search(rf"{word}\b", told.stdout) for word in words if word.startswith("--"))


def test_the_page_shows_commands_of_both_kinds() -> None:
    assert {command.split()[1] for command in COMMANDS} == {"channels", "approvals"} and len(COMMANDS) > 12


def test_the_page_lists_every_event() -> None:
    section = PAGE.split("| event | when |")[1].split("\n\n")[0]
    events = {
        name
        for row in section.splitlines()
        for name in re.findall(r"`([a-z_]+)`", row.split("|")[1:2][0] if row else "")
    }
    assert events == {*get_args(Event), TEST}


def test_the_schedule_of_the_page_is_the_codes() -> None:
    delays = [retries.delay_s(attempts, random=0.5) for attempts in range(1, retries.ATTEMPTS)]
    assert delays[:7] == [10, 30, 90, 4.5 * 60, 13.5 * 60, 40.5 * 60, 7290]
    assert set(delays[7:]) == {6 * 3600}
    assert f"{retries.ATTEMPTS} attempts in about {round(sum(filter(None, delays)) / 3600)} hours" in PAGE
    assert (retries.JITTER, retries.LONGEST_ASKED_S) == (0.2, 86_400)


def test_the_page_of_the_api_names_every_field_of_a_channel_and_which_may_be_left_out() -> None:
    page = (Path(__file__).parents[3] / "docs" / "api.md").read_text(encoding="utf-8")
    (body,) = re.findall(r"^\| `POST /v1/channels` \| operator \| (.*?) \|", page, re.MULTILINE)
    required = {name for name, field in NewChannel.model_fields.items() if field.is_required()}
    assert set(re.findall(r"`(\w+)`\?", body)) == set(NewChannel.model_fields) - required
    assert required <= set(re.findall(r"`(\w+)`(?!\?)", body))


def test_the_bounds_of_the_page_are_the_codes() -> None:
    for text in (
        f"There are {MOST_CHANNELS} channels at most",
        f"within {ANSWER_S:g} seconds",
        f"queue of {delivery_journal.MOST_WAITING:,}".replace(",", " "),
        f"({delivery_journal.MOST_DEAD:,} a channel; and".replace(",", " ").replace(";", ","),
        f"and {delivery_journal.MOST_DELIVERED:,} delivered)".replace(",", " "),
        f"kept for {delivery_journal.LOG_MEMORY_US // 86_400_000_000} days",
    ):
        assert text in PAGE
    assert AT_ONCE == 2 and "two deliveries under way at most" in PAGE
