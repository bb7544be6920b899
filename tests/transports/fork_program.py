"""A process that forks with open connections; says as JSON what parent and child saw.

Run by test_fork.py: `python fork_program.py LIBRARY URL AUTHORITY`. Not a test itself.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import threading
import warnings
from typing import Any

from llmkeep.transports import async_client, client

library, url, authority = sys.argv[1:]
warnings.simplefilter("error")
warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)


def port_of(response: Any) -> int:
    """The local port of the connection that carried the response."""
    address: tuple[str, int] = response.extensions["network_stream"].get_extra_info("client_addr")
    return address[1]


async def aget(shared: Any) -> int:
    return port_of(await shared.get(f"{url}/plain"))


def fork_and_wait(child: Any) -> Any:
    """What `child()` returns, run in a forked child that then exits in order."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        with os.fdopen(writing, "w") as pipe:
            json.dump(child(), pipe)
        sys.exit()
    os.close(writing)
    with os.fdopen(reading) as pipe:
        answer = pipe.read()
    assert os.waitpid(pid, 0)[1] == 0, "the child failed"
    return json.loads(answer)


def main() -> None:
    os.environ["SSL_CERT_FILE"] = authority
    sync: Any = client(library=library)
    shared: Any = async_client(library=library)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def ask() -> dict[str, int]:
        asking = asyncio.run_coroutine_threadsafe(aget(shared), loop)
        return {"sync": port_of(sync.get(f"{url}/plain")), "async": asking.result()}

    before = ask()
    opened = sync.send(sync.build_request("GET", f"{url}/drip"), stream=True)
    parts = opened.iter_raw()
    first = next(parts).decode()
    abegin = shared.send(shared.build_request("GET", f"{url}/drip"), stream=True)
    aopened = asyncio.run_coroutine_threadsafe(abegin, loop).result()
    inherited = {"opened": opened, "parts": parts, "sync": sync, "shared": shared, "a": aopened}
    del opened, parts, aopened, abegin

    def child() -> dict[str, Any]:
        seen: dict[str, Any] = {
            "sync": port_of(sync.get(f"{url}/plain")),
            "async": asyncio.run(aget(shared)),
            "again": asyncio.run(aget(shared)),
        }
        try:
            inherited["opened"].stream.__iter__().__next__()
        except RuntimeError as error:
            seen["read"] = str(error)
        inherited["opened"].close()
        told: list[Any] = []  # what the child says to the parent's loop, over a socket they share
        loop.call_soon_threadsafe = lambda *call: told.append(call)  # type: ignore[method-assign,assignment]
        asyncio.run(inherited["a"].aclose())
        sync.close()
        asyncio.run(shared.aclose())
        inherited.clear()
        gc.collect()
        seen["told"] = len(told)
        return seen

    in_child = fork_and_wait(child)
    after = ask()
    rest = next(inherited["parts"]).decode() if release() else ""
    inherited["opened"].close()
    body = asyncio.run_coroutine_threadsafe(inherited["a"].aread(), loop).result().decode()
    asyncio.run_coroutine_threadsafe(shared.aclose(), loop).result()
    sync.close()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()
    print(
        json.dumps(
            {"before": before, "child": in_child, "after": after, "bodies": [first + rest, body]}
        )
    )


def release() -> bool:
    """Have the server end the body that was begun before the fork."""
    print("forked", flush=True)
    return sys.stdin.readline() == "released\n"


main()
