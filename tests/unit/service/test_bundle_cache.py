"""The bundles that a replica keeps ready: few, and whoever waits for one gets it even when others push it out."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from controlplane.errors import UnavailableError
from controlplane.service import bundles
from controlplane.service.bundles import BundleCache
from policies.bundle import Bundle
from policies.compile import compile_sources


def source(number: int) -> list[tuple[str, str]]:
    rule = f"  - {{id: r, on: {{tool: a}}, when: args.n > {number}.0, then: allow}}\n"
    catalog = "kind: Catalog\ntools:\n  a: {args: {n: {type: decimal}}}\n"
    return [("p.yaml", f"{catalog}---\nkind: Policy\nname: p\nrules:\n{rule}")]


@pytest.fixture
def stored(monkeypatch: pytest.MonkeyPatch) -> dict[str, Bundle]:
    """Eight bundles that the control store holds, by digest."""
    compiled = [(compile_sources(source(n)), source(n)) for n in range(8)]
    sources = {bundle.digest: texts for bundle, texts in compiled}

    async def control(method: str, digest: str) -> dict[str, Any]:
        assert method == "bundle"
        return {"sources": sources[digest]}

    monkeypatch.setattr(bundles, "call_control", control)
    return {bundle.digest: bundle for bundle, _ in compiled}


def test_many_that_are_loaded_at_once_reach_whoever_waits_and_few_are_kept(
    stored: dict[str, Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundles, "_KEPT", 1)

    async def story() -> None:
        cache = BundleCache()
        for _ in range(5):
            found = await asyncio.gather(*(cache.get(digest, timeout_s=20) for digest in stored))
            assert [preparer.bundle.digest for preparer in found] == list(stored)
            assert len(cache._preparers) == 1 and cache._loading == {}

    asyncio.run(story())


def test_the_newest_that_is_ready_serves_while_the_active_one_is_loaded(stored: dict[str, Bundle]) -> None:
    first, second, *_ = stored

    async def story() -> None:
        cache = BundleCache()
        assert cache.best(None) is None
        await cache.keep(stored[first])
        assert cache.best(second) == first
        await cache.get(second, timeout_s=20)
        assert cache.best(second) == second

    asyncio.run(story())


def test_one_that_cannot_be_loaded_is_asked_for_seldom_and_found_when_it_can(
    stored: dict[str, Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = next(iter(stored))
    control = bundles.call_control
    asked: list[str] = []

    async def away(method: str, digest: str) -> dict[str, Any]:
        asked.append(digest)
        raise UnavailableError("the control store is away", code="owner_unreachable")

    async def story() -> None:
        monkeypatch.setattr(bundles, "call_control", away)
        monkeypatch.setattr(bundles, "_RETRY_S", 0.01)
        cache = BundleCache()
        for _ in range(100):
            cache.best(digest)
            with pytest.raises(UnavailableError, match="the control store is away"):
                await cache.get(digest, timeout_s=5)
        assert 1 <= len(asked) < 100
        monkeypatch.setattr(bundles, "call_control", control)
        await asyncio.sleep(0.05)
        assert (await cache.get(digest, timeout_s=20)).bundle.digest == digest

    asyncio.run(story())
