"""Activating a bundle: every owner compiles it, then it is the active one, then every owner is told. No Ray.

The old bundle decides until every owner that can be reached has compiled the new one, so that nobody waits for a
compiler; and whoever asked hears which owners have taken it over, and which lag.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from actors.control import Control
from controlplane.errors import GovernanceError

log = logging.getLogger(__name__)

AWAKE_TIMEOUT_S = 2.0
PREPARE_TIMEOUT_S = 25.0
ACKNOWLEDGE_TIMEOUT_S = 10.0

Call = Callable[..., Awaitable[Any]]
"""How an owner is asked: (name, method, *arguments, timeout_s=…); see `actors.handles.ask`."""


async def activate(
    control: Callable[[], Control],
    owners: Sequence[str],
    call: Call,
    *,
    digest: str,
    tenant: str,
    by: str,
    lenient: bool = False,
) -> dict[str, Any]:
    """Have every owner compile a stored bundle, make it active, and tell every owner.

    Args:
        control: what owns the activation, looked up anew after each wait: its journal may have been opened again.
        owners: names of all.
        lenient: see `Activation`.
    Returns: ``{"digest", "replaces", "acknowledged": […], "lagging": […]}``. A lagging owner decides with the bundle
        that it has until it has heard of the new one for longer than a lease lasts; then it denies.
    Raises: NotFoundError: the bundle is not stored.
    """
    sources = control().bundle(digest)["sources"]
    # An owner that is stopped must not hold up the others as long as one that compiles may: an awake one answers
    # at once, whatever it compiles.
    awake = await tell(call, owners, "status", timeout_s=AWAKE_TIMEOUT_S)
    reached = [name for name, answered in awake.items() if answered]
    # Compiling takes seconds for thousands of rules. Until every owner that can be reached has done it, the old
    # bundle decides, so that nobody waits.
    await tell(call, reached, "prepare_bundle", digest, sources, timeout_s=PREPARE_TIMEOUT_S)
    store = control()
    replaced = store.activation.digest
    activation = store.activate(digest, tenant=tenant, by=by, lenient=lenient)
    word = (activation.digest, activation.number, sources, activation.lenient)
    missed = [name for name in awake if name not in reached]
    one, other = await asyncio.gather(
        tell(call, reached, "activate", *word, timeout_s=ACKNOWLEDGE_TIMEOUT_S),
        # It may be back by now.
        tell(call, missed, "activate", *word, timeout_s=AWAKE_TIMEOUT_S),
    )
    # INVARIANT (agreement): only an owner that said so counts as having taken the bundle over.
    told = one | other
    return {
        "digest": digest,
        "replaces": replaced if replaced != digest else None,
        "acknowledged": [name for name in owners if told[name]],
        "lagging": [name for name in owners if not told[name]],
    }


async def tell(
    call: Call, names: Sequence[str], method: str, *arguments: Any, timeout_s: float
) -> dict[str, bool]:
    """Call owners, all at once; says by name which answered true in time. One that did not learns the same from
    its next lease."""

    async def one(name: str) -> bool:
        try:
            return bool(await call(name, method, *arguments, timeout_s=timeout_s))
        except GovernanceError as error:
            log.warning("owner `%s` has not acknowledged `%s`: %s", name, method, error.message)
            return False

    return dict(zip(names, await asyncio.gather(*map(one, names)), strict=True))
