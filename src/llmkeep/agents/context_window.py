"""What of a conversation a model is shown: no more than its context window holds.

What is stored stays whole where it is trimmed, which happens on the way to the model and adds no
step to the graph. Where it is summarised instead, the summary takes the place of what it sums up.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Final, cast, final

from langchain.agents.middleware import (
    AgentMiddleware,
    ModelRequest,
    ModelResponse,
    SummarizationMiddleware,
)
from langchain.agents.middleware.summarization import DEFAULT_SUMMARY_PROMPT
from langchain.agents.middleware.types import AgentState
from langchain_core.exceptions import ContextOverflowError
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.utils import count_tokens_approximately, get_buffer_string
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langgraph.runtime import Runtime
from typing_extensions import override

from .faults import told_to_model
from .hooks import in_place
from .stopping import stoppable
from .trimming import count_tokens, fit, tokens_of
from .usage import counts_of

logger = logging.getLogger(__name__)

#: Tokens of a model that does not say how many it takes.
DEFAULT_TOKENS: Final = 8192

#: The share of the window that is filled: the rest is for the answer, and for what the estimate of
#: tokens misses.
FILLED: Final = 0.75

#: What the conversation gets, of what is filled, where the prompt and the tools leave less.
LEAST_SHARE: Final = 0.25

#: The parts of the room that are tried, one after the other, where the provider finds it too much.
PARTS: Final = (0.5, 0.25)

#: Of what is filled: when a conversation is summarised, and how much of it then stays as it is.
SUMMARISED_AT: Final = 0.66
KEPT: Final = 0.33

#: How servers say that it was too much, where LangChain does not recognise it.
_TOO_MUCH: Final = re.compile(
    r"context.{0,20}(?:length|size|window)|maximum.{0,20}tokens|(?:prompt|input) is too long",
    re.IGNORECASE,
)


def context_middleware(
    llm: BaseChatModel, *, tokens: int | None, strategy: str
) -> tuple[AgentMiddleware[Any, Any, Any], ...]:
    """The middleware that keeps what is sent within the window of a model.

    To be given to `create_agent` after whatever sets the system prompt. At most three quarters of
    the window are filled, by prompt, tools and messages.

    Args:
        llm: the model; it writes the summaries, too.
        tokens: the window; None: what the model's profile says, or 8,192 where it has none.
        strategy: `trim`: the oldest turns are not sent. `summarize`: they are replaced by a
            summary for good, at the beginning of a turn; trimmed where that fails or is not enough.

    Raises ValueError for another strategy, or less than one token.
    """
    if strategy not in ("trim", "summarize"):
        raise ValueError(f"unknown strategy {strategy!r}: trim or summarize")
    window = tokens if tokens is not None else window_of(llm)
    if window < 1:
        raise ValueError(f"a context window has at least 1 token, not {window}")
    filled = int(window * FILLED)
    trimming = TrimMiddleware(filled)
    return (SummaryMiddleware(llm, filled), trimming) if strategy == "summarize" else (trimming,)


def window_of(llm: BaseChatModel) -> int:
    """How many tokens a model takes: what its profile says, or 8,192."""
    stated = (llm.profile or {}).get("max_input_tokens")
    return stated if isinstance(stated, int) and stated > 0 else DEFAULT_TOKENS


@final
class TrimMiddleware(AgentMiddleware[AgentState[Any], Any, Any]):
    """Sends what fits; asks again with less where the provider says that it was too much."""

    def __init__(self, filled: int) -> None:
        super().__init__()
        self._filled: Final = filled
        #: The tools that were counted last, and their tokens: they are the same at every call.
        self._tools: tuple[list[Any], int] = ([], 0)
        self._said = False

    @override
    def wrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], ModelResponse[Any]],
    ) -> ModelResponse[Any]:
        attempts = self._attempts(request)
        attempt = next(attempts)
        while True:
            try:
                return handler(attempt)
            except Exception as error:
                if not _is_too_much(error) or (less := next(attempts, None)) is None:
                    raise
                attempt = less

    @override
    @in_place
    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any]:
        attempts = self._attempts(request)
        attempt = next(attempts)
        while True:
            try:
                return await handler(attempt)
            except Exception as error:
                if not _is_too_much(error) or (less := next(attempts, None)) is None:
                    raise
                attempt = less

    def _attempts(self, request: ModelRequest[Any]) -> Iterator[ModelRequest[Any]]:
        """What to send, and then ever less, as long as there is less to send."""
        room = self._room(request)
        messages = fit(request.messages, room)
        yield request if messages is request.messages else _with(request, messages)
        sent = count_tokens(messages)
        room = min(room, sent)  # which the provider finds too much: the estimate is wrong
        for part in PARTS:
            messages = fit(request.messages, int(room * part))
            size = count_tokens(messages)
            if size >= sent:
                return
            logger.info("the provider found a conversation too long: it is asked with less of it")
            sent = size
            yield _with(request, messages)

    def _room(self, request: ModelRequest[Any]) -> int:
        """The tokens that are left for the conversation."""
        prompt = request.system_message
        fixed = self._count_tools(request.tools) + (tokens_of(prompt) if prompt is not None else 0)
        least = int(self._filled * LEAST_SHARE)
        if self._filled - fixed < least and not self._said:
            self._said = True
            logger.warning(
                "the prompt and the tools alone take about %d of the %d tokens that are sent: see "
                "AGENTS__CONTEXT_TOKENS",
                fixed,
                self._filled,
            )
        return max(self._filled - fixed, least)

    def _count_tools(self, tools: list[Any]) -> int:
        known, count = self._tools
        if len(known) != len(tools) or any(a is not b for a, b in zip(known, tools, strict=True)):
            count = count_tokens_approximately([], tools=tools)
            self._tools = [*tools], count
        return count


def _with(request: ModelRequest[Any], messages: Sequence[BaseMessage]) -> ModelRequest[Any]:
    return request.override(messages=cast("list[AnyMessage]", [*messages]))


def _is_too_much(error: Exception) -> bool:
    if isinstance(error, ContextOverflowError):
        return True
    refused = getattr(error, "status_code", None) in (400, 413)
    return refused and _TOO_MUCH.search(str(error)) is not None


@final
class SummaryMiddleware(AgentMiddleware[AgentState[Any], Any, Any]):
    """Has the beginning of a long conversation summarised, before its next turn."""

    transformers = SummarizationMiddleware.transformers

    def __init__(self, llm: BaseChatModel, filled: int) -> None:
        super().__init__()
        self._llm: Final = llm
        self._filled: Final = filled
        self._due: Final = max(1, int(filled * SUMMARISED_AT))

    @override
    def before_agent(self, state: AgentState[Any], runtime: Runtime[Any]) -> dict[str, Any] | None:
        if count_tokens(state["messages"]) < self._due:
            return None
        writer = _Writer(self._llm)
        try:
            return writer.noted(self._summarizer(writer).before_model(state, runtime))
        except Exception as error:
            _say_not_summarised(error)
            return None

    @override
    async def abefore_agent(
        self, state: AgentState[Any], runtime: Runtime[Any]
    ) -> dict[str, Any] | None:
        if count_tokens(state["messages"]) < self._due:
            return None
        writer = _Writer(self._llm)
        try:
            return writer.noted(await self._summarizer(writer).abefore_model(state, runtime))
        except Exception as error:
            _say_not_summarised(error)
            return None

    def _summarizer(self, writer: _Writer) -> SummarizationMiddleware[Any, Any]:
        # Token limits alone: shares of a window need a profile, which not every model has.
        asking = count_tokens_approximately([DEFAULT_SUMMARY_PROMPT])
        return SummarizationMiddleware(
            self._llm,
            trigger=("tokens", self._due),
            keep=("tokens", max(1, int(self._filled * KEPT))),
            token_counter=count_tokens,
            trim_tokens_to_summarize=max(self._filled - asking, self._filled // 2, 1),
            summarizer=RunnableLambda(writer.write, writer.awrite),
        )


def _say_not_summarised(error: Exception) -> None:
    logger.warning(
        "a conversation could not be summarised, and is trimmed instead: %s", told_to_model(error)
    )


@final
class _Writer:
    """Writes one summary; lives as long as that takes."""

    def __init__(self, llm: BaseChatModel) -> None:
        self._llm: Final = llm
        self._usage: UsageMetadata | None = None

    def write(self, messages: list[AnyMessage], config: RunnableConfig) -> str:
        return self._read(self._llm.invoke(_prompt_for(messages), config))

    async def awrite(self, messages: list[AnyMessage], config: RunnableConfig) -> str:
        return self._read(await stoppable(self._llm.ainvoke(_prompt_for(messages), config)))

    def _read(self, answer: AIMessage) -> str:
        self._usage = answer.usage_metadata
        text = str(answer.text).strip()
        if not text:
            raise ValueError("the summary is empty")
        return text

    def noted(self, update: dict[str, Any] | None) -> dict[str, Any] | None:
        """The change of the state, with what the summary has cost."""
        if update is not None and self._usage is not None:
            update["usage"] = counts_of(self._usage)
        return update


def _prompt_for(messages: list[AnyMessage]) -> str:
    return DEFAULT_SUMMARY_PROMPT.format(messages=get_buffer_string(messages, format="xml"))
