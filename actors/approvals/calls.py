"""What replicas, and channels that tell approvers, ask of an owner about approvals; mixed into `AgentHost`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from actors.approvals import approving
from actors.approvals import journal as approval_journal
from actors.approvals import requests as approvals
from actors.approvals import values as approval_values
from actors.approvals.events import let_time_pass
from actors.owner import Owner


def _list(
    owner: Owner,
    viewer: tuple[Any, ...],
    states: list[str],
    agent: str | None,
    before: str,
    limit: int,
    mine: bool,
) -> list[dict[str, Any]]:
    found, left = approvals.listed(owner, viewer, states, agent, before, limit, mine=mine)
    return [{"found": found, "left": left}]


APPROVALS_S: Final = 1.0
"""How soon it is noticed, by whoever waits, that a request has expired."""
WORK: Final[Mapping[str, Callable[..., Any]]] = {
    "approval_request": approvals.request,
    "approval_cancel": approvals.cancel,
    "approval_comment": approvals.comment,
    "approval_look": approvals.look,
    "approval_list": _list,
    "approval_versions": lambda owner, ids: approval_journal.versions(owner.journal, ids),
    "approval_approve": approving.approve,
    "approval_deny": approving.deny,
    "approval_delegate": approving.delegate,
    "approval_values": approval_values.listed,
    "approval_value_revoke": approval_values.revoke,
    "approval_notices": lambda owner, after, limit: approval_journal.notices(owner.journal, after, limit),
    "forget_approval_notices": lambda owner, up_to: approval_journal.forget_notices(owner.journal, up_to),
}
"""By name: from the owner and plain values to plain values."""


class ApprovalCalls:
    """The same, as they come through Ray."""

    _owner: Owner | None

    def _do(self, what: str, *arguments: Any) -> Any:
        raise NotImplementedError

    async def _see_to_approvals(self) -> None:
        """What time brings to requests: they expire, others may approve as well, somebody is reminded."""
        more = True
        while more and (owner := self._owner) is not None and owner.journal.usable:
            more = let_time_pass(owner)
            await asyncio.sleep(0)

    async def approval_request(self, request: tuple[Any, ...]) -> Any:
        return self._do("approval_request", request)

    async def approval_cancel(self, viewer: tuple[Any, ...], identity: str, key_id: str, comment: str) -> Any:
        return self._do("approval_cancel", viewer, identity, key_id, comment)

    async def approval_comment(self, viewer: tuple[Any, ...], identity: str, key_id: str, text: str) -> Any:
        return self._do("approval_comment", viewer, identity, key_id, text)

    async def approval_look(self, viewer: tuple[Any, ...], identity: str) -> Any:
        return self._do("approval_look", viewer, identity)

    async def approval_list(
        self,
        viewer: tuple[Any, ...],
        states: list[str],
        agent: str | None,
        before: str,
        limit: int,
        mine: bool,
    ) -> Any:
        return self._do("approval_list", viewer, states, agent, before, limit, mine)

    async def approval_versions(self, ids: list[str]) -> Any:
        return self._do("approval_versions", ids)

    async def approval_approve(self, act: tuple[Any, ...]) -> Any:
        return self._do("approval_approve", act)

    async def approval_deny(self, act: tuple[Any, ...]) -> Any:
        return self._do("approval_deny", act)

    async def approval_delegate(self, act: tuple[Any, ...]) -> Any:
        return self._do("approval_delegate", act)

    async def approval_values(self, tenant: str, after: str, limit: int) -> Any:
        return self._do("approval_values", tenant, after, limit)

    async def approval_value_revoke(self, viewer: tuple[Any, ...], identity: str, key_id: str) -> Any:
        return self._do("approval_value_revoke", viewer, identity, key_id)

    async def approval_notices(self, after: int, limit: int) -> Any:
        """What has happened to approvals after the notice `after`: (number, JSON), oldest first."""
        return self._do("approval_notices", after, limit)

    async def forget_approval_notices(self, up_to: int) -> Any:
        """Everything up to this notice has been told."""
        return self._do("forget_approval_notices", up_to)
