"""docs/operations.md says which alarms and metrics there are; the code says the same, and the rules use no others."""

from __future__ import annotations

import re
from pathlib import Path

from ruamel.yaml import YAML
from unit.service.test_metrics_door import STATUS

from actors.alarms.state import CODES, ENDS_AFTER_S, FAILING_S
from actors.bounds import DISK_LOW_BYTES, EVIDENCE_LAG_S
from controlplane.cli.durations import seconds
from controlplane.cli.sizes import size_bytes
from controlplane.service.management.metrics import exposition

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
SECTION = PAGE.split("\n## Alarms\n")[1].split("\n## ")[0]
METRICS = set(re.findall(r"^# TYPE (\w+)", exposition(STATUS), re.MULTILINE))


def test_the_page_names_every_alarm_and_when_it_begins_and_ends() -> None:
    assert tuple(re.findall(r"^\| `(evidence_[a-z_]+)` \|", SECTION, re.MULTILINE)) == CODES
    assert f"after {ENDS_AFTER_S:g} s without its cause" in SECTION
    assert f"failed for {FAILING_S:g} s" in SECTION
    assert f"below {DISK_LOW_BYTES >> 30} GiB unless told otherwise" in SECTION
    assert EVIDENCE_LAG_S == 60 and "1 minute unless told otherwise" in SECTION


def test_what_up_says_of_its_defaults_is_so() -> None:
    text = (ROOT / "controlplane" / "cli" / "running.py").read_text(encoding="utf-8")
    (lag,) = re.findall(r"is an alarm; remembered. \[default: (\w+)\]", text)
    (low,) = re.findall(r"GiB`, or \"\s+\"`never`; remembered. \[default: (\w+)\]", text)
    assert (seconds(lag), size_bytes(low)) == (EVIDENCE_LAG_S, DISK_LOW_BYTES)


def test_the_page_names_every_metric_and_no_other() -> None:
    rows = re.findall(r"^\| (`controlplane_.+?) \|", SECTION, re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == METRICS


def test_the_rules_can_be_read_and_ask_for_metrics_that_there_are() -> None:
    scrape, rules = (
        YAML(typ="safe").load(text) for text in re.findall(r"```yaml\n(.*?)```", SECTION, re.DOTALL)
    )
    (job,) = scrape["scrape_configs"]
    assert job["authorization"]["credentials_file"]
    alerts = [rule for group in rules["groups"] for rule in group["rules"]]
    for alert in alerts:
        asked = set(re.findall(r"\b(controlplane_\w+)", alert["expr"]))
        assert asked <= METRICS and (asked or alert["expr"].startswith("up{")), alert
        assert set(re.findall(r'code!?="(\w+)"', alert["expr"])) <= set(CODES)
    assert len(alerts) == 5


def test_evidence_says_the_same_codes() -> None:
    page = (ROOT / "docs" / "evidence-format.md").read_text(encoding="utf-8")
    section = page.split("\n## Alarms\n")[1].split("\n## ")[0]
    assert all(f"`{code}`" in section for code in CODES)
