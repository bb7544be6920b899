"""The data folder: private, and one process's at a time."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from llmkeep.service.storage.folder import DataFolder
from llmkeep.service.storage.sqlite_store import SqliteStore
from llmkeep.settings import SettingsError

#: Owns the folder and waits; with "fork", a child that does nothing outlives it.
OWNER = """
import os, sys, time
from pathlib import Path
from llmkeep.service.storage.folder import DataFolder
folder = DataFolder(Path(sys.argv[1])).lock()
if "fork" in sys.argv and os.fork() == 0:
    print(os.getpid(), flush=True)  # which ends what there is to do after a fork
    sys.stdin.read()
    os._exit(0)
if "fork" not in sys.argv:
    print("owned", flush=True)
sys.stdin.read()
"""


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@contextmanager
def owner(path: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that owns the folder; it ends with its standard input."""
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, path, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


async def test_everything_in_it_is_private(tmp_path):
    """A folder that is made is its owner's alone, and each file, whatever the umask is."""
    before = os.umask(0)
    try:
        with DataFolder(tmp_path / "new" / "folder") as folder:
            async with SqliteStore(folder.database) as store:
                await store.open_thread("ann", "t1")
                files = {each.name: mode(each) for each in folder.path.iterdir()}
    finally:
        os.umask(before)

    assert mode(folder.path) == 0o700
    assert set(files) == {
        "serve.lock",
        "service.sqlite3",
        "service.sqlite3-wal",
        "service.sqlite3-shm",
    }
    assert set(files.values()) == {0o600}


def test_a_folder_that_was_there_keeps_its_mode(tmp_path):
    """It may be shared for reasons of its own."""
    tmp_path.chmod(0o755)
    with DataFolder(tmp_path):
        assert mode(tmp_path) == 0o755


def test_one_process_owns_it(tmp_path):
    """Another is refused at once, in words; killed in whatever way, the owner leaves it."""
    with owner(tmp_path) as process:
        assert process.stdout is not None
        process.stdout.readline()
        for _ in range(2):
            with pytest.raises(SettingsError, match="SERVICE__DATA_DIR: another llmkeep serve"):
                DataFolder(tmp_path).lock()

        process.send_signal(signal.SIGKILL)
        process.wait()
        with DataFolder(tmp_path) as folder, pytest.raises(SettingsError):
            DataFolder(tmp_path).lock()  # in the same process neither
        with folder:  # and again
            pass


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_does_not_keep_it(tmp_path):
    """The parent keeps it while it lives, and no longer."""
    with owner(tmp_path, "fork") as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        with pytest.raises(SettingsError):
            DataFolder(tmp_path).lock()

        process.send_signal(signal.SIGKILL)
        process.wait()
        os.kill(child, 0)  # it is alive
        with DataFolder(tmp_path):
            os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize("place", ["file", "file/below", "new/" + "x" * 300])
def test_one_that_cannot_be_used_is_refused_in_words(tmp_path, place):
    """With the variable to change, and what is wrong."""
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match=r"^SERVICE__DATA_DIR: .* cannot be used \(.+\): name"):
        DataFolder(tmp_path / place).lock()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
def test_one_that_is_read_only_is_refused_in_words(tmp_path):
    """Before anything is opened."""
    tmp_path.chmod(0o500)
    with pytest.raises(SettingsError, match="Permission denied"):
        DataFolder(tmp_path).lock()
