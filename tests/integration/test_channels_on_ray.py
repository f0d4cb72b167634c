"""The notifier among the other actors: started with them, started again by Ray, taken off with them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from integration.plane import Running, wait_until
from unit.actors.notifications.receiver import Receiver, receiver
from unit.actors.notifications.samples import SECRET

from controlplane.lifecycle.processes import ours

pytestmark = pytest.mark.ray


@pytest.fixture
def there() -> Iterator[Receiver]:
    with receiver() as found:
        yield found


def notifier(running: Running) -> list[psutil.Process]:
    return [process for process in ours(running.settings) if process.cmdline()[:1] == ["ray::NotifierActor"]]


def test_a_channel_works_and_goes_on_working_when_the_notifier_is_killed(
    running: Running, there: Receiver
) -> None:
    client = running.client(timeout_s=30)
    body = {"id": "hook", "kind": "webhook", "url": there.url, "secret": SECRET}
    client.request("POST", "/v1/channels", body)

    def tried() -> Any:
        return client.request("POST", "/v1/channels/hook/test")["delivered"]

    assert tried() is True
    status = client.request("GET", "/v1/status")["notifier"]
    assert status["ready"] is True and status["epoch"] == 1

    def killed() -> bool:
        for process in notifier(running):
            process.kill()
            return True
        return False

    # Ray gives a process its title with its first call.
    wait_until(killed, timeout_s=20, what="the notifier's process")
    wait_until(tried, timeout_s=30, what="the notifier to come back")
    assert client.request("GET", "/v1/status")["notifier"]["epoch"] == 2
    (channel,) = client.request("GET", "/v1/channels")["channels"]
    assert channel["id"] == "hook"
    assert len(there.received) >= 2
    assert client.request("DELETE", "/v1/channels/hook")["id"] == "hook"
    mode = (running.settings.journals / "notifier.db").stat().st_mode & 0o777
    assert mode == 0o600
