"""The commands that need no control plane: policies, evidence, status and down of what does not run."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import Result

from controlplane.cli import app as app_module
from controlplane.cli.sizes import size_bytes
from controlplane.lifecycle import status as status_module
from controlplane.lifecycle import up as up_module
from controlplane.lifecycle.status import Health, Status
from controlplane.settings import Settings

Run = Callable[..., Result]

POLICY = """\
kind: Catalog
tools:
  mail.read: {system: mail, effects: [read], data: [], boundary: internal}
  mail.send: {system: mail, effects: [send], boundary: external, args: {to: {type: email}}}
---
kind: Policy
name: mailing
rules:
  - {id: reads, on: {tool: mail.read}, then: allow}
  - {id: sends, on: {tool: mail.send}, then: deny, because: mail leaves}
"""
STORY = """\
kind: Test
name: mailing
sessions: {s1: {agent: mailer}}
cases:
  - name: mail stays
    steps:
      - {session: s1, at: 0s, tool: mail.read, expect: allow}
      - {session: s1, at: 1s, tool: mail.send, args: {to: a@b.example}, expect: EXPECTED}
"""


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / "policy.yaml").write_text(POLICY)
    return folder


def story(folder: Path, expected: str) -> Path:
    path = folder / "story.yaml"
    path.write_text(STORY.replace("EXPECTED", expected))
    return path


def test_check_names_the_bundle(run: Run, policies: Path) -> None:
    checked = json.loads(run("bundle", "check", policies, "--json").stdout)
    assert checked["digest"].startswith("sha256:")
    assert checked["rules"] == 2
    assert checked["digest"] in run("bundle", "check", policies).stdout


def test_check_shows_where_a_document_is_wrong(run: Run, policies: Path) -> None:
    file = policies / "policy.yaml"
    file.write_text(POLICY.replace("then: deny", "thn: deny"))
    done = run("bundle", "check", file)
    assert done.exit_code == 1
    assert done.stderr.startswith(f"{file}:10:")
    assert "did you mean `then`" in done.stderr
    errors = json.loads(run("bundle", "check", file, "--json").stderr)["error"]["errors"]
    assert errors[0]["line"] == 10


@pytest.mark.parametrize(("expected", "status"), [("deny", 0), ("allow", 1)])
def test_stories_pass_or_fail(run: Run, policies: Path, expected: str, status: int) -> None:
    path = story(policies, expected)
    done = run("policy", "test", policies)
    assert done.exit_code == status, done.output
    assert ("0" if status else "1") + " of 1 cases passed" in done.stdout
    assert (f"{path}:8: step 2" in done.stdout) == bool(status)
    report = json.loads(run("policy", "test", policies, "--json").stdout)
    assert report["passed"] == (status == 0)
    assert report["cases"][0]["steps"][1]["verdict"]["effect"] == "deny"


def test_no_story_at_all_is_no_success(run: Run, policies: Path) -> None:
    done = run("policy", "test", policies)
    assert done.exit_code == 1
    assert "nothing was tested" in done.stderr


@pytest.mark.parametrize("command", [("bundle", "check"), ("policy", "test")])
@pytest.mark.parametrize("what", ["missing.yaml", "empty", "latin1.yaml"])
def test_files_that_cannot_be_read_are_one_line(
    run: Run, tmp_path: Path, command: tuple[str, str], what: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "latin1.yaml").write_bytes(b"# \xe9")
    done = run(*command, tmp_path / what)
    assert done.exit_code == 1
    assert len(done.stderr.splitlines()) == 1
    assert what in done.stderr


def test_evidence_without_a_table_is_one_line(run: Run, tmp_path: Path) -> None:
    done = run("evidence", "query", "select 1", "--table", tmp_path / "none")
    assert done.exit_code == 1
    assert "no evidence table" in done.stderr


def test_evidence_reads_a_query_with_a_comment_in_front_from_its_file(run: Run, tmp_path: Path) -> None:
    table = pytest.importorskip("evidence.delta.table")
    table.EvidenceTable.open_or_create(str(tmp_path / "decisions"))
    (tmp_path / "q.sql").write_text("-- how many\nselect count(*) as n from evidence\n", encoding="utf-8")
    done = run("evidence", "query", f"@{tmp_path / 'q.sql'}", "--table", tmp_path / "decisions", "--csv")
    assert (done.exit_code, done.stdout) == (0, "n\n0\n")
    assert run("evidence", "query", f"@{tmp_path / 'none.sql'}").exit_code == 1


def test_evidence_answers_from_the_table_alone(run: Run, tmp_path: Path) -> None:
    table = pytest.importorskip("evidence.delta.table")
    table.EvidenceTable.open_or_create(str(tmp_path / "decisions"))
    sql = "select 1 as one, 'a,b' as text, '\\xFF'::blob as bytes, count(*) as n from evidence"
    words = ("evidence", "query", sql, "--table", tmp_path / "decisions")
    assert json.loads(run(*words, "--json").stdout) == [{"one": 1, "text": "a,b", "bytes": "ff", "n": 0}]
    assert run(*words, "--csv").stdout == 'one,text,bytes,n\n1,"a,b",ff,0\n'
    assert run(*words).stdout.splitlines()[1].split() == ["1", "a,b", "ff", "0"]


def test_columns_of_one_name_are_all_shown(run: Run, tmp_path: Path) -> None:
    table = pytest.importorskip("evidence.delta.table")
    table.EvidenceTable.open_or_create(str(tmp_path / "decisions"))
    words = ("evidence", "query", "select 1 as x, 2 as x", "--table", tmp_path / "decisions")
    assert run(*words, "--csv").stdout.splitlines()[1] == "1,2"
    refused = run(*words, "--json")
    assert refused.exit_code == 1
    assert "same name" in refused.stderr


@pytest.mark.parametrize("created", [False, True])
def test_status_of_what_does_not_run_is_3_and_down_is_0(run: Run, tmp_path: Path, created: bool) -> None:
    data = tmp_path / "cp"
    if created:
        Settings.create_or_open(data)
    done = run("status", "--data", data, "--json")
    assert done.exit_code == 3
    assert json.loads(done.stdout)["health"] == "not_running"
    done = run("down", "--data", data)
    assert done.exit_code == 0
    assert "nothing runs" in done.stdout


@pytest.mark.parametrize("lagging", [[], ["host-001", "agent-1"]])
def test_status_names_who_does_not_decide_with_the_active_bundle(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lagging: list[str]
) -> None:
    settings = Settings.create_or_open(tmp_path / "cp", hosts=2)
    hosts = [
        {
            "name": "host-000",
            "ready": True,
            "pending_rows": 12,
            "evidence_backlog": 700,
            "bundle": "sha256:aa",
        },
        {"name": "host-001", "ready": False, "reason": "evidence_backlog", "pending_rows": 700},
    ]
    found = Status(
        health=Health.READY,
        reason="",
        state=None,
        processes=(),
        service={"bundle": "sha256:aa", "lagging": lagging, "hosts": hosts, "evidence": {}},
    )
    monkeypatch.setattr(status_module, "look", lambda settings, key: found)
    shown = run("status", "--data", settings.data)
    assert shown.exit_code == 0, shown.output
    assert ("lagging: host-001, agent-1: not deciding with this bundle" in shown.stdout) == bool(lagging)
    assert ("lagging" in shown.stdout) == bool(lagging)
    # How much evidence waits, beside how much may.
    (first,) = [line.split() for line in shown.stdout.splitlines() if line.startswith("host-000")]
    assert first[-2:] == ["12", "700"]
    assert (
        json.loads(run("status", "--data", settings.data, "--json").stdout)["service"]["lagging"] == lagging
    )


def test_status_says_which_alarms_are_on_and_what_keeps_evidence_from_landing(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings.create_or_open(tmp_path / "cp", hosts=2)
    lag = {"code": "evidence_lag", "about": "", "says": "`host-000` has not landed", "since_us": 0}
    low = {
        "code": "evidence_disk_low",
        "about": "table",
        "says": "1 GiB is free\x1b[2J",
        "since_us": 1_000_000,
    }
    evidence = {
        "name": "evidence-writer",
        "ready": True,
        "alarms": [lag, low],
        "trouble": {"table": "no room"},
        "lag_s": {"host-000": 70.0},
        "disks": {"table": {"free_bytes": 1, "size_bytes": 2}},
    }
    found = Status(
        health=Health.UNHEALTHY,
        reason="alarms: evidence_lag",
        state=None,
        processes=(),
        service={"evidence": evidence},
    )
    monkeypatch.setattr(status_module, "look", lambda settings, key: found)
    shown = run("status", "--data", settings.data)
    assert shown.exit_code == 1
    said = " ".join(shown.stdout.split())
    assert "alarm evidence_lag since 1970-01-01T00:00:00Z: `host-000` has not landed" in said
    assert "alarm evidence_disk_low (table) since 1970-01-01T00:00:01Z: 1 GiB is free" in said
    assert "evidence, table: no room" in said and "\x1b" not in shown.stdout


@pytest.mark.parametrize(
    ("text", "expected"), [("500MiB", 500 * 2**20), ("20GiB", 20 * 2**30), ("1TiB", 2**40)]
)
def test_sizes_are_read_as_people_write_them(text: str, expected: int) -> None:
    assert size_bytes(text) == expected


@pytest.mark.parametrize(
    "text", ["", "5", "5GB", "0GiB", "-1GiB", "1.5GiB", "5 GiB", "GiB", "10000000000000GiB"]
)
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="like 20GiB"):
        size_bytes(text)


def test_up_with_another_number_of_hosts_is_refused(run: Run, tmp_path: Path) -> None:
    Settings.create_or_open(tmp_path / "cp", hosts=2)
    done = run("up", "--data", tmp_path / "cp", "--hosts", "3")
    assert done.exit_code == 1
    assert "was created with 2 hosts" in done.stderr


@pytest.mark.parametrize("words", [["keys", "create", "--json"], ["nonsense", "--json"], ["--json"]])
def test_wrong_use_is_json_too(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["controlplane", *words])
    with pytest.raises(SystemExit) as caught:
        app_module.main()
    assert caught.value.code == 2
    assert json.loads(capsys.readouterr().err)["error"]["code"] == "usage"


def test_the_exit_status_survives_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["controlplane", "status", "--json", "--data", str(tmp_path / "cp")])
    with pytest.raises(SystemExit) as caught:
        app_module.main()
    assert caught.value.code == 3


COMMANDS = [
    ("up",),
    ("down",),
    ("status",),
    ("init",),
    ("decide",),
    ("delegate",),
    ("session", "open"),
    ("session", "task"),
    ("session", "end"),
    ("keys", "create"),
    ("keys", "list"),
    ("keys", "revoke"),
    ("keys", "evidence", "create"),
    ("keys", "evidence", "show"),
    ("keys", "evidence", "rotate"),
    ("principal", "add"),
    ("principal", "list"),
    ("bundle", "check"),
    ("bundle", "activate"),
    ("bundle", "list"),
    ("bundle", "show"),
    ("policy", "test"),
    ("policy", "lint"),
    ("policy", "diff"),
    ("policy", "simulate"),
    ("policy", "explain"),
    ("policy", "schema"),
    ("agent", "register"),
    ("agent", "list"),
    ("agent", "show"),
    ("approvals", "list"),
    ("approvals", "show"),
    ("approvals", "approve"),
    ("approvals", "deny"),
    ("approvals", "delegate"),
    ("approvals", "comment"),
    ("approvals", "cancel"),
    ("approvals", "watch"),
    ("approvals", "load"),
    ("approvals", "values", "list"),
    ("approvals", "values", "revoke"),
    ("channels", "add"),
    ("channels", "list"),
    ("channels", "remove"),
    ("channels", "deliveries"),
    ("channels", "dead-letters"),
    ("channels", "retry"),
    ("channels", "test"),
    ("evidence", "query"),
    ("evidence", "reveal"),
    ("evidence", "erase"),
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_json(run: Run, command: tuple[str, ...]) -> None:
    done = run(*command, "--help")
    assert done.exit_code == 0
    assert "--json" in done.stdout


@pytest.mark.parametrize("group", [(), *sorted({command[:-1] for command in COMMANDS} - {()})])
def test_the_list_of_commands_cuts_no_line(
    run: Run, group: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    _, _, commands = run(*group, "--help").stdout.partition("Commands:")
    assert commands
    assert "..." not in commands


def test_the_version_is_printed(run: Run) -> None:
    assert re.fullmatch(r"controlplane \d+\.\d+\.\d+\n", run("--version").stdout)


@pytest.mark.parametrize("as_json", [(), ("--json",)])
def test_an_interrupted_up_says_that_the_start_goes_on(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_json: tuple[str, ...]
) -> None:
    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(up_module, "bring_up", interrupted)
    done = run("up", "--data", tmp_path / "cp", *as_json)
    assert done.exit_code == 130
    assert f"controlplane down --data {tmp_path / 'cp'}" in done.stderr


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from controlplane.cli.app import app\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0\n"
        "print([name for name in ('ray', 'pyarrow', 'deltalake', 'duckdb', 'cel_expr_python', 'pydantic')"
        " if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_init_makes_what_the_nodes_share_and_starts_nothing(run: Run, tmp_path: Path) -> None:
    data = tmp_path / "cp"
    words = ("init", "--data", data, "--nodes", "head, node-1", "--hosts", "4", "--json")
    made = json.loads(run(*words).stdout)
    assert (made["hosts"], made["nodes"]) == (4, ["head", "node-1"])
    token = Path(made["ray_token"])
    assert token.stat().st_mode & 0o777 == 0o600
    secret = token.read_text()
    assert json.loads(run(*words).stdout) == made
    assert token.read_text() == secret
    assert secret not in json.dumps(made)
    assert not (data / "run" / "state.json").exists()
    # The operator's key is made on the head: the other nodes never see it.
    assert not (data / "keys" / "operator.key").exists()
