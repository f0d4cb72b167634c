"""docs/security.md says of doors, roles, ports and secrets what the code does."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest
from ruamel.yaml import YAML

from actors.directory import LEASE_S
from controlplane.lifecycle.ports import INGRESS_PORTS, Ports
from controlplane.service.application import Application
from controlplane.service.management import bodies
from controlplane.settings import DEFAULT_HOST, DEFAULT_PORT, Settings

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")


def table(heading: str) -> list[list[str]]:
    """The cells of the first table after a heading, its head first."""
    lines = PAGE.split(f"{heading}\n", 1)[1].splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("| "))
    rows = []
    for line in lines[first:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return [rows[0], *rows[2:]]


@pytest.fixture(scope="module")
def ingress() -> Any:
    owners: Any = SimpleNamespace(hosts=2, channels="")
    return Application(owners, digest_key=b"", base_url="http://cp.example").ingress


def test_each_role_opens_the_routes_that_the_page_says_and_no_other(ingress: Any) -> None:
    (_, *roles), *rows = table("### Which role opens which route")
    written = {
        (route.strip("`"), role): cell == "yes"
        for route, *cells in rows
        for role, cell in zip(roles, cells, strict=True)
    }
    real = {
        (f"{route.method} {route.path}", role): role in route.roles
        for route in ingress._router.routes
        for role in roles
    }
    assert written == real


def test_the_page_has_every_role_that_a_key_can_have() -> None:
    (_, *roles), *_ = table("### Which role opens which route")
    assert set(roles) == set(get_args(bodies.NewKey.model_fields["role"].annotation))


def test_the_page_names_every_door_without_a_key(ingress: Any) -> None:
    (row,) = (row for row in table("## Doors") if row[0].startswith("`/healthz`"))
    assert set(re.findall(r"`(/\S+)`", row[0])) == set(ingress._public)


def test_the_page_names_every_port_of_a_single_machine() -> None:
    section = PAGE.split("## One machine\n")[1].split("\n## ")[0]
    listed = section.split("`run/state.json`: ")[1].split("Look for yourself")[0]
    assert set(re.findall(r"`(\w+)`", listed)) == {field.name for field in fields(Ports)}
    assert f"({INGRESS_PORTS} each)" in listed
    assert DEFAULT_HOST == "127.0.0.1"


def ports_of_the_page() -> dict[str, list[str]]:
    _, *rows = table("## Several machines")
    return {row[0]: row for row in rows}


@pytest.mark.parametrize("name", ["cluster.yaml", "cluster-aws.yaml"])
def test_the_page_lists_every_port_that_the_cluster_files_fix(name: str) -> None:
    config = YAML(typ="safe").load((ROOT / name).read_text())
    commands = " ".join(config["head_start_ray_commands"] + config["worker_start_ray_commands"])
    low, high = (re.search(rf"--{end}-worker-port=(\d+)", commands)[1] for end in ("min", "max"))  # type: ignore[index]
    singles = set(re.findall(r"--(?!min-|max-)[a-z-]*port=(\d+)", commands))
    listed = ports_of_the_page()
    assert singles | {f"{low}-{high}", str(DEFAULT_PORT)} <= listed.keys()


def test_the_firewall_lets_nodes_reach_what_they_need_and_no_port_that_asks_for_nothing() -> None:
    (allowed,) = re.findall(r"@nodes tcp dport \{ ([0-9, -]+) \} accept", PAGE)
    ranges = [
        range(int(low), int(high) + 1)
        for low, high in (part.split("-") for part in allowed.replace(" ", "").split(","))
    ]

    def reached(port: str) -> bool:
        return any(int(end) in inside for end in port.split("-") for inside in ranges)

    listed = ports_of_the_page()
    assert all(reached(port) for port, row in listed.items() if row[4] == "the nodes")
    # Ray's own metrics lie between ports that nodes need; other nodes may see them, nobody else.
    assert {port for port, row in listed.items() if row[3] == "**open**" and reached(port)} == {"6385"}
    assert not reached(str(DEFAULT_PORT))


def test_the_page_names_every_secret_of_the_data_directory(tmp_path: Path) -> None:
    settings = Settings.create_or_open(tmp_path / "cp")
    secrets = {settings.operator_key, settings.secrets, settings.ray_token, settings.evidence_key}
    named = set(re.findall(r"`(keys/[\w.]+)`", " ".join(row[0] for row in table("## Secrets"))))
    assert named == {str(path.relative_to(settings.data)) for path in secrets}
    assert set(settings.keys.iterdir()) <= secrets


def test_a_revoked_key_is_missed_by_nobody_for_longer_than_the_page_says() -> None:
    assert LEASE_S == 2.0
    assert "from two seconds later on" in PAGE
    assert "the control store is silent for 2 s" in PAGE


def test_every_file_that_the_page_links_to_is_there() -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", PAGE):
        assert (ROOT / "docs" / target).exists(), target
    headings = {
        re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", PAGE, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", PAGE)) <= headings
