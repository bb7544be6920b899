"""What mutation testing of the closes found unproved."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from tests.core.conftest import MakeCache
from tests.core.tools import WAIT, Client, Gate, alease, start, sweep, until


def test_i4_a_stuck_close_hides_no_other_that_its_loop_never_began(
    make_cache: MakeCache, open_gate: Gate
) -> None:
    """Whoever looks after the closes looks at all of them."""
    go = threading.Event()

    def close(client: Client) -> Any:
        if client.spec == "stuck":
            go.wait(WAIT)
        return open_gate.aclose(client)

    cache = make_cache(None, abuild=open_gate.abuild, close=close, close_timeout=None)
    under_way = cache._ledger.closes.under_way
    loop = asyncio.new_event_loop()

    async def main() -> None:
        stuck, handed = await alease(cache, "stuck"), await alease(cache, "handed")
        cache.invalidate("stuck")
        until(lambda: [each.client for each in under_way] == [stuck])
        cache.invalidate("handed")
        until(lambda: any(each.client is handed and each.loop for each in list(under_way)))

    loop.run_until_complete(main())
    loop.close()
    del loop

    sweep(cache, 0)
    until(lambda: cache.stats().closed == 1)
    assert [client.spec for client in open_gate.closed] == ["handed"]
    go.set()
    until(lambda: cache.stats().closed == 2)
    start(cache.close).result(WAIT)
