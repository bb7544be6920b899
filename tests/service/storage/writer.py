"""A process that writes to a store until it is killed, and tells of each batch that is written.

    python writer.py FILE [TASKS]

A line is a task's number and how many of its batches have been written. Each batch has two events,
a message, and the number of batches in the run's `tokens`.
"""

from __future__ import annotations

import asyncio
import sys

from llmkeep.service.interfaces import EventsAdded, MessagesPut, RunChanged
from llmkeep.service.storage.sqlite_store import SqliteStore
from tests.service.storage.scene import frames, message, open_run, open_thread


async def write(store: SqliteStore, task: int) -> None:
    thread = await open_thread(store, f"t{task}")
    run = await open_run(store, thread)
    written = 0
    while True:
        written += 1
        said = message(f"m{written}", f"m{written - 1}" if written > 1 else None)
        await store.write(
            [
                EventsAdded(run.key, frames(2 * written - 1, 2 * written)),
                MessagesPut(thread.key, [said]),
                RunChanged(run.key, {"tokens": written}),
            ]
        )
        print(task, written, flush=True)


async def main(file: str, tasks: int) -> None:
    async with SqliteStore(file) as store, asyncio.TaskGroup() as group:
        for task in range(tasks):
            group.create_task(write(store, task))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
