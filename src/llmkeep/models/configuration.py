"""A sealed model configuration, and the lease of the instance that it means at the moment.

A `Configuration` is what a caller gave, provider and arguments, and lives as long as any handle
made of it. At each lease it looks at the environment: a changed key or address is another instance.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, final

from langchain_core.language_models import BaseChatModel

from llmkeep.core import CacheClosed, ClientCache, Lease, LLMKeepError, Spec, freeze

from . import caches
from .adapters import Adapter, Kept, ModelConfigurationError
from .arguments import field_names, own_copy, parameter
from .environment import Looked
from .identity import holds_object, structure
from .masking import masked, secrets_in
from .providers import find
from .resolving import EnvironmentChanged, Resolved

#: How often a lease looks again when the environment or the default cache changes under it.
_ATTEMPTS: Final = 100
#: What classes call the parameter that names the model.
_MODEL_NAMES: Final = ("model", "model_name", "model_id")


@final
class Configuration:
    """What a caller gave, sealed: later changes to it change nothing."""

    __slots__ = ("_arguments", "_last", "adapter")

    def __init__(self, adapter: Adapter, arguments: Mapping[str, Any]) -> None:
        self.adapter: Final = adapter
        self._arguments: Final[dict[str, Any]] = own_copy(dict(arguments))
        self._last: Resolved | None = None

    @property
    def label(self) -> str:
        """`provider:model`, to be shown."""
        model = next(
            (self._arguments[name] for name in _MODEL_NAMES if name in self._arguments), None
        )
        return f"{self.adapter.provider}:{masked(str(model))}"

    def arguments(self) -> dict[str, Any]:
        """The caller's arguments, as a copy."""
        return own_copy(self._arguments)  # type: ignore[no-any-return]

    def resolve(self) -> Resolved:
        """What it means now.

        Raises ModelConfigurationError, MissingExtra, or what the class itself raises.
        """
        for _ in range(_ATTEMPTS):
            looked = self.adapter.lookup()
            last = self._last
            if last is not None and last.looked == looked:
                return last
            try:
                with _resolutions.lease(self._spec(looked)) as resolved:
                    self._last = resolved
                    return resolved
            except EnvironmentChanged:
                continue
        raise _unsettled(self)

    async def aresolve(self) -> Resolved:
        """`resolve` without blocking the loop."""
        for _ in range(_ATTEMPTS):
            looked = self.adapter.lookup()
            last = self._last
            if last is not None and last.looked == looked:
                return last
            try:
                async with _resolutions.lease(self._spec(looked)) as resolved:
                    self._last = resolved
                    return resolved
            except EnvironmentChanged:
                continue
        raise _unsettled(self)

    def changed(
        self, model_class: type[BaseChatModel], changes: Mapping[str, Any]
    ) -> Configuration:
        """Another configuration: these arguments with the fields in `changes` as they say."""
        kept = {
            name: value
            for name, value in self._arguments.items()
            if field_names(model_class, {name: None}).keys().isdisjoint(changes)
        }
        named = {parameter(model_class, name): value for name, value in changes.items()}
        return Configuration(self.adapter, {**kept, **named})

    def for_pickle(
        self, model_class: type[BaseChatModel]
    ) -> tuple[str, dict[str, Any], tuple[str, ...]]:
        """Provider, arguments without credentials, and the fields that had to be left out.

        Left out is also what counts by identity: it would be another object where it arrives.
        """
        travels = {
            name: value
            for name, value in self._arguments.items()
            if next(secrets_in(value, name), None) is None and not holds_object(value)
        }
        missing = field_names(model_class, self._arguments).keys() - field_names(
            model_class, travels
        )
        return self.adapter.provider, travels, tuple(sorted(missing))

    @classmethod
    def from_pickle(
        cls, provider: str, arguments: dict[str, Any], missing: tuple[str, ...]
    ) -> Configuration:
        """Raises ModelConfigurationError for something left out that the environment lacks."""
        adapter, _ = find(f"{provider}:model")
        here = {
            field
            for field, value in zip(adapter.environment.values(), adapter.lookup(), strict=True)
            if value
        }
        lacking = [name for name in missing if name not in here]
        if lacking:
            raise ModelConfigurationError(
                f"{provider}: {', '.join(lacking)} did not travel with the pickled handle, and no "
                "variable here supplies it: call chat_model(...) with it where it is used"
            )
        return cls(adapter, arguments)

    def lease(self) -> ModelLease:
        """The right to use the instance, for a `with` or `async with` statement."""
        return ModelLease(self)

    def _spec(self, looked: Looked) -> Spec:
        sealed = freeze((self.adapter.serial, structure(self._arguments), looked))
        return Spec((self, looked), sealed.key, sealed.foreign)

    def __deepcopy__(self, memo: object) -> Configuration:
        return self

    def __repr__(self) -> str:
        return f"<Configuration {self.label}>"

    def __reduce__(self) -> Any:
        raise TypeError("a Configuration holds credentials and is not pickled: pickle the handle")


@final
class ModelLease:
    """One borrow of a kept model, by configuration; used once, returned as the core's lease is."""

    __slots__ = ("_configuration", "_lease")

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._lease: Lease[Kept] | None = None

    def __enter__(self) -> BaseChatModel:
        for _ in range(_ATTEMPTS):
            lease = caches.lease(self._configuration.resolve())
            try:
                kept = lease.__enter__()
            except (EnvironmentChanged, CacheClosed):
                continue
            self._lease = lease
            return kept.model
        raise _unsettled(self._configuration)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._lease is not None
        self._lease.__exit__(kind, error, trace)

    async def __aenter__(self) -> BaseChatModel:
        for _ in range(_ATTEMPTS):
            lease = caches.lease(await self._configuration.aresolve())
            try:
                kept = await lease.__aenter__()
            except (EnvironmentChanged, CacheClosed):
                continue
            self._lease = lease
            return kept.model
        raise _unsettled(self._configuration)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, trace)


def _unsettled(configuration: Configuration) -> LLMKeepError:
    return LLMKeepError(
        f"{configuration.label}: the environment or the default cache changed at every look; "
        "stop changing them while models are used"
    )


def _resolve(asked: tuple[Configuration, Looked]) -> Resolved:
    configuration, looked = asked
    return Resolved(configuration.adapter, configuration.label, configuration.arguments(), looked)


def _label(asked: tuple[Configuration, Looked]) -> str:
    return asked[0].label


#: Single flight for resolving, and a memory of it; what it keeps is closed by nobody.
_resolutions: Final[ClientCache[Any, Resolved]] = ClientCache(
    _resolve, name="model configurations", label=_label
)
