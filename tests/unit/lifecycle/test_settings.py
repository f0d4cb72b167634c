"""The data directory's contract."""

from __future__ import annotations

import json
import os
import pickle
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from controlplane.settings import (
    DataDirectoryError,
    Secrets,
    Settings,
    create_private,
    default_data,
)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "cp"


def test_a_new_data_directory_is_its_owners_alone(data: Path) -> None:
    settings = Settings.create_or_open(data)
    for folder in (data, settings.keys, settings.journals, settings.logs, settings.run):
        assert mode(folder) == 0o700
    assert mode(settings.secrets) == 0o600


def test_a_directory_that_others_could_read_is_closed_when_opened(data: Path) -> None:
    Settings.create_or_open(data)
    data.chmod(0o755)
    Settings.create_or_open(data)
    assert mode(data) == 0o700


def test_two_hosts_unless_told_otherwise(data: Path) -> None:
    assert Settings.create_or_open(data).hosts == 2


def test_instance_secrets_and_number_of_hosts_survive_opening_again(data: Path) -> None:
    first = Settings.create_or_open(data, hosts=3)
    secrets = Secrets.read(first.secrets)
    for again in (Settings.create_or_open(data), Settings.create_or_open(data, hosts=3), Settings.open(data)):
        assert again == first
        assert Secrets.read(again.secrets) == secrets


def test_another_number_of_hosts_is_refused(data: Path) -> None:
    Settings.create_or_open(data, hosts=3)
    with pytest.raises(DataDirectoryError, match="was created with 3 hosts and cannot have 4") as caught:
        Settings.create_or_open(data, hosts=4)
    assert caught.value.code == "hosts_are_fixed"
    assert caught.value.fields == {"expected": 3, "found": 4}


@pytest.mark.parametrize("hosts", [0, -1, 257])
def test_a_senseless_number_of_hosts_creates_nothing(data: Path, hosts: int) -> None:
    with pytest.raises(DataDirectoryError, match=f"`{hosts}` hosts"):
        Settings.create_or_open(data, hosts=hosts)
    assert not data.exists()


def test_nodes_are_kept_in_order_and_are_the_head_alone_unless_named(data: Path, tmp_path: Path) -> None:
    assert Settings.create_or_open(tmp_path / "one").nodes == ("head",)
    several = Settings.create_or_open(data, nodes=["z", "a-1.example", "b"])
    assert several.nodes == ("z", "a-1.example", "b")
    assert Settings.open(data) == Settings.create_or_open(data) == several
    assert Settings.from_json(several.to_json()) == several


def test_other_nodes_are_refused(data: Path) -> None:
    Settings.create_or_open(data, nodes=["a", "b"])
    for other in (["b", "a"], ["a"], ["a", "b", "c"]):
        with pytest.raises(DataDirectoryError, match="was created for the nodes a, b") as caught:
            Settings.create_or_open(data, nodes=other)
        assert caught.value.code == "nodes_are_fixed"


@pytest.mark.parametrize("nodes", [[], [""], ["a", "a"], ["A"], ["a/b"], ["-a"], ["a" * 64]])
def test_senseless_names_of_nodes_create_nothing(data: Path, nodes: list[str]) -> None:
    with pytest.raises(DataDirectoryError, match="nodes `"):
        Settings.create_or_open(data, nodes=nodes)
    assert not data.exists()


def test_a_directory_from_before_there_were_nodes_has_the_head_alone(data: Path) -> None:
    Settings.create_or_open(data)
    (data / "instance.json").write_text('{"instance": "0123abcd", "hosts": 2}')
    assert Settings.create_or_open(data).nodes == ("head",)


def test_a_directory_that_holds_something_else_is_not_taken_over(data: Path) -> None:
    data.mkdir(mode=0o755)
    (data / "thesis.tex").touch()
    with pytest.raises(DataDirectoryError, match=r"it holds `thesis\.tex`"):
        Settings.create_or_open(data)
    assert [entry.name for entry in data.iterdir()] == ["thesis.tex"]
    assert mode(data) == 0o755


def test_opening_what_is_not_there_says_how_to_create_it(data: Path) -> None:
    with pytest.raises(DataDirectoryError, match="controlplane up --data") as caught:
        Settings.open(data)
    assert caught.value.code == "no_data_directory"
    assert not data.exists()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"instance": "0123abcd"}',
        '{"instance": "0123ABCD", "hosts": 2}',
        '{"instance": "../../..", "hosts": 2}',
        '{"instance": "0123abcd", "hosts": true}',
        '{"instance": "0123abcd", "hosts": "2"}',
        '{"instance": "0123abcd", "hosts": 2, "nodes": []}',
        '{"instance": "0123abcd", "hosts": 2, "nodes": "head"}',
        '{"instance": "0123abcd", "hosts": 2, "nodes": ["../.."]}',
    ],
)
def test_a_damaged_identity_is_refused_and_never_replaced(data: Path, text: str) -> None:
    Settings.create_or_open(data)
    (data / "instance.json").write_text(text)
    with pytest.raises(DataDirectoryError, match=r"instance\.json"):
        Settings.create_or_open(data)
    assert (data / "instance.json").read_text() == text


def test_secrets_that_others_can_read_are_refused(data: Path) -> None:
    settings = Settings.create_or_open(data)
    settings.secrets.chmod(0o640)
    with pytest.raises(DataDirectoryError, match="chmod 600"):
        Secrets.read(settings.secrets)


@pytest.mark.parametrize("key", ["", "00", "zz" * 32, "00" * 31])
def test_damaged_secrets_are_refused(data: Path, key: str) -> None:
    settings = Settings.create_or_open(data)
    settings.secrets.write_text(json.dumps({"digest_key": key, "session_key": "00" * 32}))
    with pytest.raises(DataDirectoryError, match=r"secrets\.json"):
        Secrets.read(settings.secrets)


def test_secrets_do_not_show_in_a_traceback(data: Path) -> None:
    secrets = Secrets.read(Settings.create_or_open(data).secrets)
    assert repr(secrets) == "Secrets(…)"


def test_of_many_that_create_at_once_all_see_one_identity(data: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda _: Settings.create_or_open(data), range(64)))
    assert len(set(found)) == 1
    assert not list(data.rglob(".*"))


def test_a_private_file_is_written_once(tmp_path: Path) -> None:
    path = tmp_path / "key"
    assert create_private(path, "first")
    assert not create_private(path, "second")
    assert path.read_text() == "first"
    assert os.listdir(tmp_path) == ["key"]  # noqa: PTH208


def test_settings_travel_as_json_and_pickled(data: Path) -> None:
    settings = Settings.create_or_open(data, port=9000)
    assert Settings.from_json(settings.to_json()) == settings
    assert pickle.loads(pickle.dumps(settings)) == settings
    assert Settings.from_environment({"CONTROLPLANE_SETTINGS": settings.to_json()}) == settings


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::1", "http://[::1]:80"),
        ("::", "http://[::1]:80"),
        ("gate.example", "http://gate.example:80"),
    ],
)
def test_the_url_is_one_that_a_client_here_can_use(data: Path, host: str, url: str) -> None:
    assert Settings(data=data, instance="0123abcd", hosts=2, host=host, port=80).url == url


def test_a_copied_data_directory_is_another_one(tmp_path: Path) -> None:
    here, there = (Settings(data=tmp_path / name, instance="0123abcd", hosts=2) for name in ("a", "b"))
    assert here.tag != there.tag
    assert here.private_temp != there.private_temp


def test_haproxys_socket_fits_a_socket_address(data: Path) -> None:
    settings = Settings(data=data, instance="0123abcd", hosts=2)
    bound = f"{settings.private_temp}/{'f' * 56}/a.{2**22}.tmp"
    assert len(bound) < 107


@pytest.mark.parametrize("environment", [{}, {"CONTROLPLANE_DATA": ""}])
def test_the_default_lies_in_the_home_directory(environment: dict[str, str]) -> None:
    assert default_data(environment) == Path.home() / ".controlplane"


def test_the_environment_names_the_data_directory() -> None:
    assert default_data({"CONTROLPLANE_DATA": "/srv/cp"}) == Path("/srv/cp")
