"""/v1/agents: registering agents and looking at one: record, sessions, capability graph."""

from __future__ import annotations

from actors.ids import agent_key
from controlplane.service.actor_calls import MANAGEMENT_TIMEOUT_S, call_control
from controlplane.service.authorization import refuse_foreign
from controlplane.service.fleet import Fleet
from controlplane.service.management import bodies
from controlplane.service.management.replies import json_reply
from controlplane.service.owner_calls import OwnerCalls
from controlplane.service.owners import Owners
from controlplane.service.routing import DECIDING, OPERATING, READING, Call, Reply, Route
from controlplane.wire.authzen import rfc3339

_PAGE = 1000


class AgentDoors:
    """The index of agents is the control store's; an agent's record and past are its owner's."""

    def __init__(self, fleet: Fleet, calls: OwnerCalls, owners: Owners) -> None:
        self._fleet = fleet
        self._calls = calls
        self._owners = owners

    def routes(self) -> list[Route]:
        return [
            Route(method="POST", path="/v1/agents", roles=OPERATING, door=self.register_agent),
            Route(method="GET", path="/v1/agents", roles=READING, door=self.list_agents),
            Route(method="GET", path="/v1/agents/{id}", roles=READING | DECIDING, door=self.show_agent),
        ]

    async def register_agent(self, call: Call) -> Reply:
        """Register an agent, or change what the body gives of it; what it leaves out stays as it was."""
        body = bodies.read_body(bodies.NewAgent, call.body)
        tenant = call.caller.tenant
        claimed = await call_control(
            "claim_agent",
            tenant=tenant,
            agent_id=body.id,
            isolation=body.isolation,
            owner=body.owner,
            by=call.caller.key_id,
        )
        if claimed["isolation"] == "dedicated":
            await self._owners.start_dedicated(claimed["name"], claimed["ordinal"])
            await self._fleet.refresh()
            owner = claimed["name"]
        else:
            owner = self._fleet.owner_of(tenant, "agent", body.id)
        given = body.model_dump(exclude_unset=True, exclude={"id"}) | {"isolation": claimed["isolation"]}
        registered = await self._calls.call(
            owner,
            "register_agent",
            tenant,
            body.id,
            given,
            call.caller.key_id,
            timeout_s=MANAGEMENT_TIMEOUT_S,
        )
        return json_reply(registered | {"lives_with": owner}, 201)

    async def list_agents(self, call: Call) -> Reply:
        """A page of the index, in the order of ids; `?after=ID` asks for the next one."""
        entries = await call_control(
            "agents", tenant=call.caller.tenant, after=call.query.get("after", ""), limit=_PAGE
        )
        agents = [{k: entry[k] for k in ("id", "owner", "isolation")} for entry in entries]
        return json_reply({"agents": agents, "next": agents[-1]["id"] if len(agents) == _PAGE else None})

    async def show_agent(self, call: Call) -> Reply:
        tenant, agent = call.caller.tenant, call.path[0]
        if call.caller.role not in READING:
            refuse_foreign(call.caller, "agent", agent)
        key = agent_key(tenant, "agent", agent)
        owner = self._fleet.owner_of(tenant, "agent", agent)
        described = await self._calls.call_by(call.deadline_us, owner, "describe_agent", key)
        for session in described["sessions"]:
            session["opened_at"] = rfc3339(session.pop("opened_us"))
            session["last_at"] = rfc3339(session.pop("last_us"))
        return json_reply(described)
