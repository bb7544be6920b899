"""The hook around calls: entered around each of a model and a tool, and told how they ended."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar

from langchain_core.tools import tool
from langgraph.types import interrupt

from llmkeep.agents import ConversationHandler
from llmkeep.agents.observing import Step
from tests.support.scripted import Scripted
from tests.support.scripted_talk import ask
from tests.support.scripted_wire import Broken, Call, Text, Usage

_within: ContextVar[str] = ContextVar("within", default="")


@tool
async def whereabouts() -> str:
    """Tell what is current in the context."""
    return _within.get()


@tool
async def explode() -> str:
    """Fail."""
    raise RuntimeError("boom")


@tool
async def ponder() -> str:
    """Ask a person."""
    return str(interrupt("well?"))


class Watched(ConversationHandler):
    """Notes each step when it begins and how it ended."""

    def __init__(self, user_id: str) -> None:
        super().__init__(user_id, None)
        self.steps: list[Step] = []
        self.ends: list[str] = []

    @property
    def tools(self):
        return (whereabouts, explode, ponder)

    def _observe(self, step: Step) -> AbstractContextManager[object]:
        return self._noting(step)

    @contextmanager
    def _noting(self, step: Step) -> Iterator[None]:
        self.steps.append(step)
        token = _within.set(step.name)
        end = "left"
        try:
            yield
        except BaseException as error:
            end = type(error).__name__
            raise
        finally:
            _within.reset(token)
            self.ends.append(end)


async def test_every_call_is_observed_and_told_how_it_ended(wire: str, scripted: Scripted):
    """Model, two tools at once, model: each with its name, its outcome and its tokens."""
    scripted.say(Call(0, "c1", "whereabouts"), Call(1, "c2", "explode"), Usage(7, 3, cached=2))
    scripted.say(Text("Done."))
    agent = Watched("u")
    heard = await ask(agent, "go")
    first, *tools, last = agent.steps
    assert (first.kind, first.name) == ("model", f"{wire}:{agent._choice.model}")
    assert (first.usage["input_tokens"], first.usage["output_tokens"]) == (7, 3)
    assert last.kind == "model"
    assert {each.call_id: (each.name, each.status) for each in tools} == {
        "c1": ("whereabouts", "success"),
        "c2": ("explode", "error"),
    }
    assert heard.calls["c1"].result == "whereabouts"  # it ran within what was entered
    assert agent.ends == ["left"] * 4


async def test_what_fails_the_model_passes_through(wire: str, scripted: Scripted, monkeypatch):
    """An observer sees the exception that ends the run."""
    scripted.say(Text("Hal"), Broken.RESET)
    agent = Watched("u")
    await ask(agent, "go")
    [step], [end] = agent.steps, agent.ends
    assert step.kind == "model"
    assert end not in ("left", "CancelledError")


async def test_a_wait_for_a_person_is_no_failure(wire: str, scripted: Scripted):
    """A tool that asks a person has the status waiting, and leaves without an exception."""
    scripted.say(Call(0, "c1", "ponder"))
    agent = Watched("u")
    await ask(agent, "go")
    assert agent.steps[-1].status == "waiting"
    assert agent.ends == ["left", "left"]
