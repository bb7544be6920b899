"""`StatefulAgent`: what every agent of a user is made of. Subclass it for an agent of your own."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Iterable, Mapping
from contextlib import AbstractContextManager, aclosing, nullcontext
from contextvars import ContextVar
from typing import Any, ClassVar, Final, Self
from uuid import UUID

from ag_ui.core import (
    Event,
    ResumeEntry,
    TextMessageContentEvent,
    TextMessageStartEvent,
    ToolCallStartEvent,
)
from langchain_core.language_models.chat_models import BaseChatModel
from langgraph.checkpoint.base import BaseCheckpointSaver

from llmkeep.settings import settings

from . import instances
from .choice import InstanceKey, choose, default_model_of, endpoint, split_model
from .context import RunContext, ToolRules
from .graphs import Graph, Tools, Window, agraph_for, forget_graphs, graph_for
from .history import Turn
from .instances import Factory
from .listening import Listener
from .memory import SHARED_MEMORY, UserId, thread_of
from .observing import Step
from .run import Prepared, Run, stop_run

DEFAULT_SESSION: Final = "default"

#: Set while `create` constructs: it makes the model ready itself, without blocking the loop.
_created: ContextVar[bool] = ContextVar("created", default=False)


class StatefulAgent:
    """An agent of one user, with a model, tools, a prompt, and a memory for each session.

    Constructing one makes its model ready, which blocks where there is none yet; in a coroutine use
    `create`. It never touches `db_session`. Subclasses say what they are by the extension points
    `_get_default_model`, `_get_temperature`, `_get_parameters`, `tools`, `_served_tools`,
    `checkpointer`, `_build_prompt` and `_observe`. The constructor asks the first three: set what
    they need before it. Two agents that come to the same model and settings share one instance of
    it.

    Args:
        user_id: whose agent it is; conversations never cross users, and 1 is not "1".
        db_session: handed to tools as `runtime.context.db_session`, and not used otherwise.
        user: handed to tools as `runtime.context.user`.

    Raises TypeError for a user id that is neither text, a number nor a UUID, and what making the
    model raises.
    """

    _llm_cache: ClassVar[Mapping[InstanceKey, BaseChatModel]] = instances.READY
    """The instances that are ready, of all agents, by `(provider, model, temperature, ...)`."""

    def __init__(self, user_id: UserId, db_session: Any, user: Any = None) -> None:
        if not isinstance(user_id, str | int | UUID):
            raise TypeError(
                f"user_id is a {type(user_id).__name__}: give text, an integer or a UUID"
            )
        self.user_id: Final = user_id
        self.db_session: Final = db_session
        self.user: Final = user
        provider, model = split_model(
            self._get_default_model(),
            settings.llm.default_provider,
            own_server=settings.llm.base_url is not None,
        )
        self._choice: Final = choose(
            provider, model, self._get_temperature(), self._get_parameters(provider)
        )
        self._max_steps: Final = settings.agents.max_steps
        self._rules: Final = ToolRules.of(settings.agents)
        self._window: Final = Window(
            settings.agents.context_tokens, settings.agents.context_strategy
        )
        self._own_tools: Tools | None = None
        #: What `create` made ready, for the first message: most agents answer one.
        self._fresh: Graph | None = None
        if not _created.get():
            instances.ready(self._choice)

    @classmethod
    async def create(cls, user_id: UserId, db_session: Any, user: Any = None, **more: Any) -> Self:
        """Construct one without ever blocking the loop; `more` is what a subclass takes."""
        token = _created.set(True)
        try:
            agent = cls(user_id, db_session, user, **more)
        finally:
            _created.reset(token)
        agent._fresh = await agent._ready_graph()
        return agent

    # --- extension points --------------------------------------------------------------------

    def _get_default_model(self) -> str:
        """`model` or `provider:model`."""
        return default_model_of(settings.llm.default_provider)

    def _get_temperature(self) -> float | None:
        """None: the provider's own default."""
        return None

    def _get_parameters(self, provider: str) -> Mapping[str, Any]:
        """Further parameters of the model, as `llmkeep.chat_model` takes them."""
        if settings.llm.base_url is not None and provider == settings.llm.default_provider:
            return endpoint(provider, settings.llm.base_url)
        return {}

    @property
    def tools(self) -> Tools:
        """What the model may call. Agents that give the same objects share one compiled graph."""
        return ()

    async def _served_tools(self) -> Tools:
        """Tools that have to be asked for, asked for before each message; not in `graph_agent`."""
        return ()

    def _build_prompt(self) -> str:
        """The system prompt, asked for at each message; it may depend on the user."""
        return ""

    @property
    def checkpointer(self) -> BaseCheckpointSaver[Any]:
        """Where conversations are kept: by default in this process, and bounded.

        Give the same object each time, to all handlers: turns and `stop` go by it.
        """
        return SHARED_MEMORY

    def _observe(self, step: Step) -> AbstractContextManager[object]:
        """Entered around each call of the model and of a tool, as for a span; it must not raise."""
        return nullcontext()

    # --- what it is made of ------------------------------------------------------------------

    @property
    def llm(self) -> BaseChatModel:
        """The model: a handle that leases the shared instance for each call."""
        return instances.ready(self._choice)

    @property
    def graph_agent(self) -> Graph:
        """The compiled graph with this agent's checkpointer, for use of its own.

        Its conversations are the same if the thread is `llmkeep.agents.thread_of(user, session)`.
        """
        graph = graph_for(self.llm, self._fixed_tools, self._window)
        return graph.copy({"checkpointer": self.checkpointer})

    @property
    def _fixed_tools(self) -> Tools:
        """`tools`, looked at once: some agents make them anew each time."""
        if self._own_tools is None:
            self._own_tools = tuple(self.tools)
        return self._own_tools

    async def _ready_graph(self) -> Graph:
        llm = await self._get_or_create_llm_async(self._choice.key, self._choice.build)
        tools = (*self._fixed_tools, *await self._served_tools())
        return await agraph_for(llm, tools, self._window)

    # --- conversations -----------------------------------------------------------------------

    def stream_response(
        self, message: str, session_id: str = DEFAULT_SESSION
    ) -> AsyncGenerator[Event, None]:
        """Answer `message`, as AG-UI events, the last of which is RUN_FINISHED or RUN_ERROR.

        The message is stored before RUN_STARTED. Messages of one conversation are answered one
        after the other, whoever sends them. What goes wrong is told by RUN_ERROR and not raised.
        Closing the stream stops the run. Where tool calls wait for approval, a message counts as
        no to all of them.
        """
        return self._new_run(session_id).events(message)

    def resume(
        self, answers: Iterable[ResumeEntry], session_id: str = DEFAULT_SESSION
    ) -> AsyncGenerator[Event, None]:
        """Go on with a conversation that waits: RUN_FINISHED told its interrupts.

        An answer's payload is `{"approved": true}`, with `"args"` to call the tool with others;
        what is not answered goes on waiting. An answer that comes twice is told by RUN_ERROR.
        """
        return self._new_run(session_id).events([*answers])

    def run(
        self,
        question: Turn | Iterable[ResumeEntry],
        session_id: str = DEFAULT_SESSION,
        *,
        run_id: str | None = None,
        taken: Collection[str] = (),
    ) -> AsyncGenerator[Event, None]:
        """Answer a turn of a conversation whose messages the application keeps, or go on with it.

        In all else like `stream_response` and `resume`. The checkpointer is the model's memory
        of one path through the application's messages, and made anew from them where it is not
        at the turn's `head`. Results that are told directly after RUN_STARTED are answers to
        earlier calls that had none: the application's history is to have them too.

        Args:
            question: the turn; or answers to what waits, as `resume` takes them.
            session_id: which conversation it is.
            run_id: what the run is called in its events; None: a new id.
            taken: ids that are never given again, where there is no turn that says so.
        """
        run = self._new_run(session_id, run_id, taken)
        return run.events(question if isinstance(question, Turn) else [*question])

    def stop(self, session_id: str = DEFAULT_SESSION) -> bool:
        """Stop the answer that is under way in a conversation, from any thread or signal handler.

        Gives whether there was one in this process. It is not waited for: its stream ends soon,
        with the outcome `cancelled`.
        """
        return stop_run(self.checkpointer, thread_of(self.user_id, session_id))

    async def respond(self, message: str, session_id: str = DEFAULT_SESSION) -> str:
        """Answer `message` with the final text alone.

        Raises what made the run fail (the provider's own exception), RunCancelled if somebody
        stopped it, and RunInterrupted if a tool call waits for approval.
        """
        run = self._new_run(session_id)
        text: list[str] = []
        async with aclosing(run.events(message)) as events:
            async for event in events:
                if isinstance(event, TextMessageStartEvent | ToolCallStartEvent):
                    text.clear()  # what was said before a tool was called is not the answer
                elif isinstance(event, TextMessageContentEvent):
                    text.append(event.delta)
        if run.error is not None:
            raise run.error
        return "".join(text)

    def _new_run(
        self, session_id: str, run_id: str | None = None, taken: Collection[str] = ()
    ) -> Run:
        if not isinstance(session_id, str):
            raise TypeError(f"session_id is a {type(session_id).__name__}: give text")
        return Run(
            self.checkpointer,
            thread_of(self.user_id, session_id),
            session_id,
            lambda: self._prepare(session_id),
            provider=self._choice.provider,
            model=self._choice.model,
            max_steps=self._max_steps,
            observe=self._observe,
            run_id=run_id,
            taken=taken,
        )

    async def _prepare(self, session_id: str) -> Prepared:
        def context(listener: Listener) -> RunContext:
            return RunContext(
                user_id=self.user_id,
                session_id=session_id,
                db_session=self.db_session,
                user=self.user,
                prompt=self._build_prompt(),
                rules=self._rules,
                listener=listener,
            )

        fresh, self._fresh = self._fresh, None
        return Prepared(fresh or await self._ready_graph(), context)

    # --- the shared instances ----------------------------------------------------------------

    @classmethod
    async def _get_or_create_llm_async(
        cls, cache_key: InstanceKey, llm_factory: Factory
    ) -> BaseChatModel:
        """The instance under `cache_key`, made by one call of `llm_factory` however many ask.

        From any loop and any thread; a factory may be a coroutine function. What it makes is
        handed out bare and never closed, only dropped.
        """
        return await instances.get_or_create(cache_key, llm_factory)

    @classmethod
    def clear_llm_cache(cls) -> None:
        """Drop the instances of all agents, and every model that `llmkeep.chat_model` keeps.

        Calls under way end in peace, the next builds anew.
        """
        instances.forget_all()
        forget_graphs()

    @classmethod
    def get_cache_stats(cls) -> dict[str, Any]:
        """`size` and `keys` of what is ready, and the figures of `llmkeep.core.Stats`."""
        keys = list(cls._llm_cache)
        return {"size": len(keys), "keys": keys, **instances.stats()}
