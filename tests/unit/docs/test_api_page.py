"""docs/api.md names every route with the roles that open it and the fields that its body takes, and no other."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pydantic import BaseModel

from controlplane.errors import GovernanceError
from controlplane.service.application import Application
from controlplane.service.management import approval_bodies, bodies, retention_bodies
from controlplane.service.owners import Owners
from controlplane.service.problems import status_of
from controlplane.service.routing import DECIDING

PAGE = (Path(__file__).parents[3] / "docs" / "api.md").read_text(encoding="utf-8")
ROUTES = {
    (method, path): (roles, body)
    for method, path, roles, body in re.findall(
        r"^\| `(GET|POST|DELETE) (/\S+)` \| ([a-z, ]+) \| (.*?) \|", PAGE, re.MULTILINE
    )
}
BODIES: list[tuple[str, type[BaseModel]]] = [
    ("/v1/sessions", bodies.NewSession),
    ("/v1/delegations", bodies.NewDelegation),
    ("/v1/sessions/{id}/task", bodies.NewTask),
    ("/v1/decisions/{id}/outcome", bodies.NewOutcome),
    ("/v1/agents", bodies.NewAgent),
    ("/v1/principals", bodies.NewPrincipal),
    ("/v1/keys", bodies.NewKey),
    ("/v1/bundles", bodies.NewBundle),
    ("/v1/bundles/{digest}/activate", bodies.NewActivation),
    ("/v1/stops", bodies.NewStop),
    ("/v1/stops/{id}/release", bodies.NewRelease),
    ("/v1/evidence/retention", retention_bodies.NewRetention),
    ("/v1/evidence/retention/runs", retention_bodies.NewRetentionRun),
    ("/v1/evidence/holds", retention_bodies.NewHold),
    ("/v1/evidence/holds/{id}/release", retention_bodies.HoldRelease),
    ("/v1/approvals", approval_bodies.NewApproval),
    ("/v1/approvals/{id}/approve", approval_bodies.Approval),
    ("/v1/approvals/{id}/deny", approval_bodies.Denial),
    ("/v1/approvals/{id}/delegate", approval_bodies.ApproverDelegation),
    ("/v1/approvals/{id}/comment", approval_bodies.NewComment),
    ("/v1/approvals/{id}/cancel", approval_bodies.Cancellation),
]


@pytest.fixture(scope="module")
def ingress() -> Any:
    owners = cast(Owners, SimpleNamespace(hosts=2, channels=""))
    return Application(owners, digest_key=b"", base_url="http://cp.example").ingress


def test_the_page_names_every_route_with_its_roles(ingress: Any) -> None:
    written = {
        route: frozenset().union(*(DECIDING if role == "deciding" else {role} for role in roles.split(", ")))
        for route, (roles, _) in ROUTES.items()
    }
    assert written == {(route.method, route.path): route.roles for route in ingress._router.routes}


def test_the_page_names_every_route_that_needs_no_key(ingress: Any) -> None:
    section = PAGE.split("### No key needed")[1].split("\n## ")[0]
    assert set(re.findall(r"`GET (/\S+)`", section)) == set(ingress._public)


@pytest.mark.parametrize(("path", "body"), BODIES)
def test_the_page_names_every_field_of_a_body_and_which_may_be_left_out(
    path: str, body: type[BaseModel]
) -> None:
    _, text = ROUTES["POST", path]
    required = {name for name, field in body.model_fields.items() if field.is_required()}
    optional = set(body.model_fields) - required
    assert set(re.findall(r"`(\w+)`\?", text)) == optional
    assert required <= set(re.findall(r"`(\w+)`(?!\?)", text))


def test_the_statuses_of_the_page_are_those_of_the_errors() -> None:
    written = set(map(int, re.findall(r"^\| (\d{3}) \|", PAGE, re.MULTILINE)))
    assert written == {status_of(kind("")) for kind in GovernanceError.__subclasses__()}
