"""What `ray up` is given: accepted by Ray's own validator, with the environment that the code needs, and no secret."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from actors import api_keys
from actors.placement import journals_resource
from controlplane.lifecycle.environment import node_environment
from controlplane.settings import NODE_NAME

ROOT = Path(__file__).parents[3]
FILES = ["cluster.yaml", "cluster-aws.yaml"]
START = ["head_start_ray_commands", "worker_start_ray_commands"]


def load(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = YAML(typ="safe").load((ROOT / name).read_text())
    return loaded


def starts(name: str) -> list[str]:
    """The commands that start Ray, one a kind of node."""
    commands = [command for kind in START for command in load(name)[kind] if "ray start" in command]
    assert len(commands) == 2
    return commands


@pytest.mark.parametrize("name", FILES)
def test_rays_own_validator_accepts_the_file_and_nothing_in_it_is_replaced(name: str) -> None:
    util = pytest.importorskip("ray.autoscaler._private.util")
    written = load(name)
    prepared = util.prepare_config(load(name))
    util.validate_config(prepared)
    for kind in START:
        assert prepared[kind] == written[kind]


@pytest.mark.parametrize("name", FILES)
def test_a_misspelt_setting_would_not_be_accepted(name: str) -> None:
    util = pytest.importorskip("ray.autoscaler._private.util")
    jsonschema = pytest.importorskip("jsonschema")
    prepared = util.prepare_config(load(name))
    prepared["head_start_commands"] = prepared.pop("head_start_ray_commands")
    with pytest.raises(jsonschema.ValidationError):
        util.validate_config(prepared)


def test_the_nodes_environment_is_the_one_that_the_code_needs() -> None:
    lines = [
        line for line in (ROOT / "cluster.env").read_text().splitlines() if line and not line.startswith("#")
    ]
    found = dict(line.split("=", 1) for line in lines)
    assert len(found) == len(lines)
    needed = node_environment(
        token="$HOME/controlplane-cluster/keys/ray.token", sockets="$HOME/.cp", state="$HOME/.cp"
    )
    assert found == needed, "\n".join(["cluster.env must hold", *(f"{k}={v}" for k, v in needed.items())])


@pytest.mark.parametrize("name", FILES)
def test_the_environment_stands_before_ray_starts_on_every_node(name: str) -> None:
    for command in starts(name):
        before, _, _ = command.partition("ray start")
        assert "set -a && . ~/controlplane-src/cluster.env && set +a" in before
    # The folder with HAProxy's sockets, and the token's, are there by then, and ours alone.
    made = load(name)["setup_commands"][0]
    assert made.startswith("mkdir -p -m 700 ~/.cp ~/controlplane-cluster && cp -an ~/controlplane-shared/.")


@pytest.mark.parametrize("name", FILES)
def test_no_dashboard_starts_and_every_port_of_a_node_that_can_be_fixed_is(name: str) -> None:
    head, worker = starts(name)
    assert "--include-dashboard=false" in head
    fixed = re.compile(r"--([a-z-]*port)=(\d+)")
    ports = dict(fixed.findall(head))
    assert len(set(ports.values())) == len(ports) == 10
    # A worker uses the head's ports for what both have.
    assert dict(fixed.findall(worker)).items() <= ports.items()
    for text in (head, worker):
        assert "0.0.0.0" not in text
        assert "--dashboard-host" not in text


def test_each_machine_of_ones_own_says_by_its_host_name_whose_journals_it_holds() -> None:
    said = '--resources="{\\"' + journals_resource("$(hostname -s | tr A-Z a-z)") + '\\": 1}"'
    for command in starts("cluster.yaml"):
        assert said in command


def test_each_machine_on_aws_has_a_node_type_with_a_name_of_its_own() -> None:
    config = load("cluster-aws.yaml")
    named = [tuple(kind["resources"]) for kind in config["available_node_types"].values()]
    assert len({name for (name,) in named}) == len(named)
    nodes = [name.removeprefix(journals_resource("")) for (name,) in named]
    assert all(NODE_NAME.fullmatch(node) for node in nodes)
    # What the first comment creates is what the file then has.
    assert f"--nodes {','.join(nodes)}" in (ROOT / "cluster-aws.yaml").read_text()
    workers = [
        kind for name, kind in config["available_node_types"].items() if name != config["head_node_type"]
    ]
    assert all(kind["min_workers"] == kind["max_workers"] == 1 for kind in workers)
    assert config["max_workers"] == len(workers)


def test_from_outside_aws_lets_in_nothing_but_ssh_from_one_address() -> None:
    (rule,) = load("cluster-aws.yaml")["provider"]["security_group"]["IpPermissions"]
    assert (rule["FromPort"], rule["ToPort"]) == (22, 22)
    assert [one["CidrIp"].endswith("/32") for one in rule["IpRanges"]] == [True]


SECRETS = re.compile(
    r"cp_[a-z2-7]{8,}_"  # an API key of ours
    r"|\b[0-9a-fA-F]{32,}\b"  # Ray's token, the keys in secrets.json
    r"|AKIA[0-9A-Z]{12,}|(?i:aws_secret|private key|password)"
    r"|RAY_AUTH_TOKEN="  # the token itself; where it lies is RAY_AUTH_TOKEN_PATH
)


@pytest.mark.parametrize("name", [*FILES, "cluster.env"])
def test_no_secret_stands_in_the_file(name: str) -> None:
    assert SECRETS.findall((ROOT / name).read_text()) == []


@pytest.mark.parametrize("secret", [api_keys.mint(os.urandom)[1], os.urandom(32).hex(), "AKIA" + "A1" * 8])
def test_a_secret_in_the_file_would_be_found(secret: str) -> None:
    assert SECRETS.search(f"RAY_AUTH={secret}")
