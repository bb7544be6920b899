"""The agent that the service talks with: which models there are, and a handler for each run.

The checkpointer is a file of the service's own, in which the model's memory of each thread is one
path through its messages; those are kept elsewhere, and whatever a run needs of them is in its
`llmkeep.agents.Turn`. `messages_of` makes one of the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Final, final

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolCall, ToolMessage
from typing_extensions import override

from llmkeep.agents import ConversationHandler, SqliteMemory, thread_of
from llmkeep.agents.answers import UNREADABLE
from llmkeep.agents.choice import InstanceKey, endpoint
from llmkeep.agents.instances import READY
from llmkeep.agents.memory import UserId
from llmkeep.agents.observing import Observe, Step
from llmkeep.agents.picking import NoModel, Pick, configured, in_this_process
from llmkeep.agents.translate import arguments_of
from llmkeep.agents.turns import turn
from llmkeep.core import ClientCache
from llmkeep.core.errors import LLMKeepError
from llmkeep.settings import SettingsError, settings

from .errors import Invalid, Unavailable
from .records import Message


@final
@dataclass(frozen=True, slots=True)
class ConfiguredModel:
    """A model that users may choose."""

    id: str
    """`provider:model`."""
    provider: str
    name: str
    is_default: bool
    is_demonstration: bool
    """Whether it only shows that everything works."""


@final
class ServiceHandlers:
    """Gives each run its handler; lives as long as the service.

    Without `models` there is one: what settings or environment say, else the one in the box. It is
    looked for when it is first needed: a server of one's own that is asked may not be up yet.

    Args:
        memory: where the model's memory is kept.
        sessions: makes database sessions; tools get it as `runtime.context.db_session`.
        models: those that users may choose, `model` or `provider:model`; the first is the default.
        observe: entered around each call of a model and of a tool.

    Raises SettingsError for a model of an unknown provider.
    """

    def __init__(
        self,
        memory: SqliteMemory,
        sessions: Callable[[], Any],
        *,
        models: Iterable[str] = (),
        observe: Observe | None = None,
    ) -> None:
        self.memory: Final = memory
        self.sessions: Final = sessions
        self.observe: Final[Observe] = observe or _unobserved
        picks = [_configured(name) for name in models]
        self._picks: Mapping[str, Pick] = {each.model: each for each in picks}
        self._default: Pick | None = picks[0] if picks else None
        # For the single flight alone: a server may have to be asked, which blocks.
        self._looking: Final = ClientCache[None, Pick](
            lambda _: configured(None, None, settings) or in_this_process(), name="default model"
        )
        #: Under which keys the instances are kept, of the models that have been used.
        self._keys: Final[dict[str, InstanceKey]] = {}

    async def models(self) -> Sequence[ConfiguredModel]:
        """Those that users may choose, the default one first.

        Raises Unavailable where there is none, since a server that has to be asked is down.
        """
        default = await self._default_pick()
        return [
            _shown(each, is_default=each.model == default.model) for each in self._picks.values()
        ]

    async def name(self, model: str | None) -> str:
        """The model's id; None: the default one's.

        Raises Invalid for one that is not configured, and Unavailable where there is no default.
        """
        return (await self._pick(model)).model

    async def handler(self, user: str, model: str | None) -> ConversationHandler:
        """The handler of a user's run with a model, which is made ready. Never blocks the loop.

        Raises what `name` does, and what making the model raises.
        """
        pick = await self._pick(model)
        handler = await ServiceHandler.create(user, self.sessions, handlers=self, pick=pick)
        self._keys[pick.model] = handler.key
        return handler

    def will_load(self, model: str | None) -> bool:
        """Whether the model's instance would have to be made first, as far as is known."""
        if model is None and self._default is not None:
            model = self._default.model
        key = self._keys.get(model or "")
        return key is None or key not in READY

    async def check(self) -> None:
        """Make the default model ready. Raises what that raises; nobody is asked anything."""
        await self.handler("", None)

    async def check_memory(self) -> None:
        """Read the working memory. Raises what sqlite3 raises."""
        await self.memory.aget_tuple({"configurable": {"thread_id": "", "checkpoint_ns": ""}})

    async def delete(self, user: str, thread_id: str) -> None:
        """Forget what the model knows of a thread, once the run under way in it has ended."""
        thread = thread_of(user, thread_id)
        async with turn(self.memory, thread):
            await self.memory.adelete_thread(thread)

    async def _pick(self, model: str | None) -> Pick:
        default = await self._default_pick()
        if model is None:
            return default
        try:
            return self._picks[model]
        except KeyError:
            raise Invalid(
                "this model is not configured here: GET /api/models lists those that are",
                code="invalid_model",
            ) from None

    async def _default_pick(self) -> Pick:
        if self._default is None:
            try:
                async with self._looking.lease(None) as pick:
                    self._default = pick
            except NoModel as error:
                variable = "AGENTS__CONVERSATION_HANDLER_DEFAULT_MODEL"
                raise Unavailable(
                    f"{error}; start it, or name a model in {variable}", code="no_model"
                ) from error
            self._picks = {self._default.model: self._default}
        return self._default


@final
class ServiceHandler(ConversationHandler):
    """The handler of one run; lives as long as it."""

    def __init__(
        self,
        user_id: UserId,
        db_session: Any,
        user: Any = None,
        *,
        handlers: ServiceHandlers,
        pick: Pick,
    ) -> None:
        self._handlers: Final = handlers
        self._picked: Final = pick
        super().__init__(user_id, db_session, user)

    @property
    def key(self) -> InstanceKey:
        """Under which its model's instance is kept."""
        return self._choice.key

    @property
    @override
    def checkpointer(self) -> SqliteMemory:
        return self._handlers.memory

    @override
    def _get_default_model(self) -> str:
        return self._picked.model

    @override
    def _get_parameters(self, provider: str) -> Mapping[str, Any]:
        address = self._picked.base_url
        if address is not None:
            return endpoint(provider, address)
        # Tokens are limited and shown, and LangChain asks OpenAI's own server alone for them.
        return {"stream_usage": True} if provider == "openai" else {}

    @override
    def _observe(self, step: Step) -> AbstractContextManager[object]:
        return self._handlers.observe(step)


def messages_of(messages: Iterable[Message]) -> list[BaseMessage]:
    """Messages of a thread as a model is told of them, for `Turn.load`.

    Of a message that was cut, calls whose arguments had not come whole are left out.
    """
    told: list[BaseMessage] = []
    names: dict[str | None, str] = {}
    for message in messages:
        match message.role:
            case "user":
                told.append(HumanMessage(message.content, id=message.message_id))
            case "assistant":
                calls = _calls_of(message)
                names.update((call["id"], call["name"]) for call in calls)
                told.append(AIMessage(message.content, id=message.message_id, tool_calls=calls))
            case "tool":
                told.append(_answer_of(message, names))
    return told


def _calls_of(message: Message) -> list[ToolCall]:
    is_cut = message.status == "partial"
    calls = [
        ToolCall(
            type="tool_call",
            id=call.id,
            name=call.name,
            args=arguments_of(call.arguments, is_cut=is_cut),
        )
        for call in message.calls
    ]
    return [call for call in calls if not (is_cut and UNREADABLE in call["args"])]


def _answer_of(message: Message, names: Mapping[str | None, str]) -> ToolMessage:
    return ToolMessage(
        message.content,
        id=message.message_id,
        name=names.get(message.tool_call_id),
        tool_call_id=message.tool_call_id or "",
        status="success" if message.status == "success" else "error",
        response_metadata={"status": message.status},
    )


def _configured(name: str) -> Pick:
    try:
        pick = configured(name, None, settings)
    except LLMKeepError as error:
        raise SettingsError(f"SERVICE__MODELS: {error}") from None
    assert pick is not None, "it was named"
    return pick


def _shown(pick: Pick, *, is_default: bool) -> ConfiguredModel:
    provider, _, name = pick.model.partition(":")
    return ConfiguredModel(pick.model, provider, name, is_default, pick.is_demonstration)


def _unobserved(_step: Step) -> AbstractContextManager[object]:
    return nullcontext()
