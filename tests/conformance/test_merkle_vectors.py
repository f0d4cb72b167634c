"""The vectors of transparency-dev/merkle: each attack in them must be refused, each honest proof accepted."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from evidence.merkle import ProofError, verify_consistency, verify_inclusion

VECTORS = Path(__file__).parents[3] / "shared" / "vectors" / "merkle" / "testdata"

pytestmark = pytest.mark.skipif(
    not VECTORS.is_dir(), reason="no vectors in ../shared/vectors/merkle beside the project"
)


def _cases(kind: str) -> list[Any]:
    files = sorted((VECTORS / kind).rglob("*.json"))
    return [pytest.param(path, id=str(path.relative_to(VECTORS / kind))) for path in files]


def _hash(text: str | None) -> bytes:
    return base64.b64decode(text or "")


def _expect(accepted: bool, case: dict[str, Any]) -> None:
    assert accepted is not case["wantErr"], case["desc"]


@pytest.mark.parametrize("path", _cases("inclusion"))
def test_inclusion(path: Path) -> None:
    case = json.loads(path.read_text())
    try:
        verify_inclusion(
            index=case["leafIdx"],
            size=case["treeSize"],
            leaf=_hash(case["leafHash"]),
            proof=[_hash(node) for node in case["proof"] or []],
            root=_hash(case["root"]),
        )
    except ProofError:
        _expect(False, case)
    else:
        _expect(True, case)


@pytest.mark.parametrize("path", _cases("consistency"))
def test_consistency(path: Path) -> None:
    case = json.loads(path.read_text())
    try:
        verify_consistency(
            size1=case["size1"],
            size2=case["size2"],
            root1=_hash(case["root1"]),
            root2=_hash(case["root2"]),
            proof=[_hash(node) for node in case["proof"] or []],
        )
    except ProofError:
        _expect(False, case)
    else:
        _expect(True, case)


@pytest.mark.parametrize("kind", ["inclusion", "consistency"])
def test_there_are_honest_and_hostile_vectors(kind: str) -> None:
    wanted = {json.loads(path.read_text())["wantErr"] for path in (VECTORS / kind).rglob("*.json")}
    assert wanted == {True, False}
