"""A process that ends or forks while it has a local model: each in an interpreter of its own.

A failure here is a hang or a signal, so each program runs under a time limit and says what it saw.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from llmkeep.models.adapters import MissingExtra
from llmkeep.models.local import ChatLocal

try:
    ChatLocal(model="smollm2")
except MissingExtra as missing:
    pytest.skip(str(missing), allow_module_level=True)

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")

START = """
import asyncio, os, signal, sys, threading
from llmkeep.models.local import ChatLocal, LocalModelError

ENDLESS = {"ignore_eos": True, "max_tokens": 100_000}

def fresh():
    return ChatLocal(model="smollm2", context_size=512, temperature=0)

def child(run):
    signal.alarm(60)
    pid = os.fork()
    if pid == 0:
        run()
        sys.stdout.flush()
        sys.exit(7)
    _, status = os.waitpid(pid, 0)
    print("child ended with", os.waitstatus_to_exitcode(status))
"""


def run(program: str) -> list[str]:
    """What a program printed; it must end by itself, in order, and say nothing else."""
    outcome = finished(program)
    assert outcome.stderr == ""
    return outcome.stdout.splitlines()


def finished(program: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A program that has ended by itself and in order."""
    outcome = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", START + program],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **variables},
    )
    assert outcome.returncode == 0, (outcome.returncode, outcome.stdout, outcome.stderr)
    return outcome


@pytest.mark.parametrize(
    "left",
    [
        pytest.param("llm.load()", id="loaded"),
        pytest.param("llm.invoke('x', max_tokens=1)", id="used"),
        pytest.param("stream = llm.stream('x', **ENDLESS); next(stream)", id="answering"),
        pytest.param(
            "stream = llm.stream('river ' * 400, **ENDLESS); threading.Thread(target=next,"
            " args=(stream,), daemon=True).start()",
            id="beginning",
        ),
        pytest.param("threading.Thread(target=llm.load, daemon=True).start()", id="loading"),
        pytest.param("next(llm.stream('x', **ENDLESS))", id="stopped"),
        pytest.param("llm.load(); llm.close()", id="closed"),
        pytest.param("two = fresh(); two.load(); llm.load()", id="two"),
    ],
)
def test_interpreter_ends_whatever_the_model_does(left: str) -> None:
    """Exit frees what is loaded and stops what is running: no hang, no crash, no word."""
    assert run(f"llm = fresh()\n{left}\nprint('end')") == ["end"]


def test_loading_and_closing_at_once_is_safe() -> None:
    """The library hangs when it is freed before its main loop has begun: that is waited for."""
    program = """
for _ in range(10):
    llm = fresh()
    llm.load()
    llm.close()
    dropped = fresh()
    dropped.load()
    del dropped
print("end")
"""
    assert run(program) == ["end"]


def test_closing_gives_the_memory_back() -> None:
    """Models that come and go take no more memory than one."""
    program = """
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

def once():
    llm = fresh()
    llm.invoke("x", max_tokens=1)
    most = resident()
    llm.close()
    return most

once()
most, after = once(), resident()
for _ in range(4):
    once()
print(resident() - after < 50, most - after > 50, len(os.listdir("/proc/self/fd")) < 20)
"""
    if not Path("/proc/self/statm").exists():
        pytest.skip("needs Linux's /proc")
    assert run(program) == ["True True True"]


@forks
def test_i9_child_leaves_alone_what_its_parent_loaded() -> None:
    """A child neither uses nor frees its parent's model, ends in order, and the parent goes on."""
    program = """
llm = fresh()
before = llm.invoke("Hello!", max_tokens=5).text
child(lambda: print("loaded in the child:", llm.loaded))
def drop():
    global llm
    del llm
kept = llm
child(drop)
child(lambda: llm.close())
print(kept.invoke("Hello!", max_tokens=5).text == before)
"""
    assert run(program) == [
        "loaded in the child: False",
        "child ended with 7",
        "child ended with 7",
        "child ended with 7",
        "True",
    ]


@forks
def test_i9_child_loads_its_own() -> None:
    """After a fork the same object, and a new one, load anew in the child and can be closed."""
    program = """
llm = fresh()
before = llm.invoke("Hello!", max_tokens=5).text
def use():
    print(llm.invoke("Hello!", max_tokens=5).text == before)
    llm.close()
    another = fresh()
    print(another.invoke("Hello!", max_tokens=5).text == before)
child(use)
print(llm.invoke("Hello!", max_tokens=5).text == before)
"""
    assert run(program) == ["True", "True", "child ended with 7", "True"]


@forks
def test_i9_fork_in_the_middle_of_an_answer() -> None:
    """The answer under way stays with the parent; the child is told, and may ask its own."""
    program = """
llm = fresh()
stream = llm.stream("Hello!", ignore_eos=True, max_tokens=40)
next(stream)
def read():
    try:
        list(stream)
    except LocalModelError as told:
        print(told)
    print(len(llm.invoke("Hello!", max_tokens=3).text) > 0)
child(read)
print(len(list(stream)) > 10)
"""
    assert run(program) == [
        "this answer was begun before a fork, and stays with the parent",
        "True",
        "child ended with 7",
        "True",
    ]


@forks
def test_i9_child_of_a_process_that_has_closed_its_models() -> None:
    """What was freed before the fork is no burden for the child."""
    program = """
llm = fresh()
llm.load()
llm.close()
def use():
    own = fresh()
    print(len(own.invoke("Hello!", max_tokens=3).text) > 0)
    own.close()
child(use)
"""
    assert run(program) == ["True", "child ended with 7"]


def test_nobody_can_reach_the_library_from_outside() -> None:
    """The library's own server listens on no port, and its socket's folder is gone."""
    program = """
import tempfile
tempfile.tempdir = tempfile.mkdtemp()
llm = fresh()
llm.load()
inodes = set()
for name in os.listdir("/proc/self/fd"):
    try:
        inodes.add(os.readlink(f"/proc/self/fd/{name}").removeprefix("socket:[").rstrip("]"))
    except OSError:
        pass
listening = [
    line.split() for table in ("tcp", "tcp6") for line in open(f"/proc/self/net/{table}")
]
print([row for row in listening if len(row) > 9 and row[9] in inodes])
print(os.listdir(tempfile.tempdir))
os.rmdir(tempfile.tempdir)
"""
    if not Path("/proc/self/net/tcp").exists():
        pytest.skip("needs Linux's /proc")
    assert run(program) == ["[]", "[]"]


def test_loopback_serves_where_no_folder_can_be_written() -> None:
    """On a machine without a temporary folder the model works too."""
    program = """
import tempfile
from llmkeep.models import local_native
def nowhere(**_):
    raise FileNotFoundError("no usable temporary directory")
local_native.tempfile.TemporaryDirectory = nowhere
print(len(fresh().invoke("Hello!", max_tokens=3).text) > 0)
"""
    assert run(program) == ["True"]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the library has no OpenMP")
@pytest.mark.parametrize(
    ("variables", "policy"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "active"}, "ACTIVE")]
)
def test_waiting_threads_sleep_unless_told_otherwise(
    variables: dict[str, str], policy: str
) -> None:
    """Spinning ones starve on shared cores; the environment is as before afterwards."""
    program = """
before = os.environ.get("OMP_WAIT_POLICY")
fresh().load()
print(os.environ.get("OMP_WAIT_POLICY") == before)
"""
    outcome = finished(program, OMP_DISPLAY_ENV="true", **variables)

    assert f"OMP_WAIT_POLICY = '{policy}'" in outcome.stderr
    assert outcome.stdout == "True\n"
