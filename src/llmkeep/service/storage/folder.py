"""The folder with everything that the service keeps, which one process owns while it runs.

    service.sqlite3   threads, messages, runs, events, notes (`sqlite_store`)
    memory.sqlite3    the models' working memory (`llmkeep.agents.SqliteMemory`); can be lost, since
                      it is rebuilt from the messages
    serve.lock        held by the owner; says nothing when nobody holds it

A folder that is made here is private to its owner, and so is each file, wherever it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Self, final

from filelock import FileLock, Timeout

from llmkeep.settings import SettingsError


@final
class DataFolder:
    """The folder at `path`: ours from `lock` (or `with`) to `unlock`.

    The operating system ends the lock with the process, SIGKILL included. A forked child does not
    have it: it neither keeps the folder when its parent is gone nor may it use it.
    """

    def __init__(self, path: Path) -> None:
        self.path: Final = path
        self.database: Final = path / "service.sqlite3"
        self.memory: Final = path / "memory.sqlite3"
        # It is asked once, and answers at once; taken by one thread and given back by any.
        self._lock: Final = FileLock(path / "serve.lock", timeout=0, mode=0o600, thread_local=False)

    def lock(self) -> Self:
        """Make the folder if there is none, and own it.

        Raises SettingsError where another process does, or nothing can be written there.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock.acquire()
        except Timeout:
            raise SettingsError(
                f"SERVICE__DATA_DIR: another llmkeep serve owns {self.path}: stop that one, or "
                "name another folder"
            ) from None
        except OSError as error:
            raise SettingsError(
                f"SERVICE__DATA_DIR: {self.path} cannot be used ({error.strerror}): name a folder "
                "that can be written to"
            ) from error
        return self

    def unlock(self) -> None:
        """Give it up."""
        self._lock.release()

    def __enter__(self) -> Self:
        return self.lock()

    def __exit__(self, *failure: object) -> None:
        self.unlock()
