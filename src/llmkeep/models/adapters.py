"""What is to be known of a provider so that its models can be kept: one `Adapter` each.

An adapter says where the model class is, which environment variables it and its SDK read, in which
scope one instance may be used and why, and how to construct one with clients of ours. The table of
them is in `providers.py`.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import itertools
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from langchain_core.language_models import BaseChatModel

from llmkeep.core import Scope
from llmkeep.core.errors import LLMKeepError

from .arguments import field_names
from .environment import Looked, Variables

#: Fields that belong to whoever calls, and change nothing that is sent: they live on the handle.
HANDLE_FIELDS = frozenset(
    {
        "cache",
        "callbacks",
        "custom_get_token_ids",
        "disable_streaming",
        "metadata",
        "name",
        "profile",
        "rate_limiter",
        "tags",
        "verbose",
    }
)


class ModelConfigurationError(LLMKeepError, ValueError):
    """A model cannot be configured like this; the message is one line and names what to change."""


class MissingExtra(LLMKeepError, ImportError):
    """A provider's package is not installed; the message says what to install."""


@dataclass(frozen=True)
class Kept:
    """What the cache keeps: the model, and those of its clients that are closed with it."""

    model: BaseChatModel
    owned: tuple[Any, ...] = ()

    def close(self) -> Awaitable[None] | None:
        """Close every owned client, also when another one fails; raises the first failure.

        What comes back, if anything does, is to be awaited: the asynchronous ones.
        """
        pending: list[Awaitable[object]] = []
        failures: list[Exception] = []
        for client in self.owned:
            try:
                # Before the plain name: of an asynchronous client that is a coroutine, or absent.
                outcome = (getattr(client, "aclose", None) or client.close)()
                if inspect.isawaitable(outcome):
                    pending.append(outcome)
            except Exception as failure:
                failures.append(failure)
        if pending:
            return _finish(pending, failures)
        if failures:
            raise failures[0]
        return None


async def _finish(pending: list[Awaitable[object]], failures: list[Exception]) -> None:
    for each in pending:
        try:
            await each
        except Exception as failure:
            failures.append(failure)
    if failures:
        raise failures[0]


def _is_closable(thing: object) -> bool:
    return callable(getattr(thing, "aclose", None)) or callable(getattr(thing, "close", None))


@dataclass(frozen=True)
class Adapter:
    """What is to be known of one provider."""

    provider: str
    """The name before the colon in `provider:model`."""
    path: str
    """Where the model class is: `module:Class`."""
    package: str
    """What to `pip install` when the module is missing."""
    scope: Scope
    """Who may share one instance ..."""
    reason: str
    """... and why."""
    environment: Mapping[str, str | None] = field(default_factory=dict)
    """The variables that the class, its SDK or our transports read, each with the field that it
    ends in, or None where it ends in no field. Of two for one field the first wins, as there."""
    key: str | None = None
    """The field without which nothing works, if there is one."""
    leased: tuple[str, ...] = ()
    """Methods that use a client, beside those of `BaseChatModel`."""
    sealed: tuple[str, ...] = ()
    """Attributes, beside fields, that would give or make a client."""
    on_the_wire: frozenset[str] = frozenset({"profile"})
    """Fields of `HANDLE_FIELDS` that this class, or one not looked at, reads for its requests."""
    model_parameter: str = "model"
    """The parameter of the class that names the model."""
    serial: int = field(default_factory=itertools.count().__next__, init=False, repr=False)
    """Tells this adapter from another that takes its place in the table."""

    #: Read by HTTP clients on behalf of every provider that uses one.
    HTTP_VARIABLES: ClassVar[tuple[str, ...]] = (
        *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
        *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR"),
    )

    @property
    def handle_fields(self) -> frozenset[str]:
        """Fields that live on the handle and are no part of the key."""
        return HANDLE_FIELDS - self.on_the_wire

    def model_class(self) -> type[BaseChatModel]:
        """Import the class. Raises MissingExtra, one line, where its package is not installed."""
        module, _, name = self.path.partition(":")
        try:
            return getattr(importlib.import_module(module), name)  # type: ignore[no-any-return]
        except ImportError as missing:
            reason = f" ({missing.name} is missing)" if missing.name else ""
            line = f'provider "{self.provider}" needs: pip install "{self.package}"{reason}'
        raise MissingExtra(line)

    def make(self, arguments: dict[str, Any]) -> BaseChatModel:
        """Construct the class itself."""
        return self.model_class()(**arguments)

    def construct(self, arguments: dict[str, Any]) -> Kept:
        """A model of exactly these arguments; may change the mapping.

        This one lets the class make its clients, and owns those that it finds in private attributes
        and in fields which nobody gave.
        """
        model = self.make(arguments)
        given = field_names(type(model), arguments)
        candidates = [
            *(model.__pydantic_private__ or {}).values(),
            *(value for name, value in vars(model).items() if name not in given),
        ]
        theirs = {id(value) for value in arguments.values()}
        made = {id(each): each for each in candidates if id(each) not in theirs}
        return Kept(model, tuple(filter(_is_closable, made.values())))

    def open(self, kept: Kept) -> None:
        """Do what is slow about a new instance; called once, by its build."""

    def lacks_key(self, model: BaseChatModel) -> bool:
        """Whether a constructed model has no credential at all."""
        return self.key is not None and not getattr(model, self.key)

    def missing_key(self) -> ModelConfigurationError:
        """The error that says which key is missing."""
        names = [name for name, ends_in in self.environment.items() if ends_in == self.key]
        return ModelConfigurationError(
            f"{self.provider}: no API key: set {names[0]}, or pass api_key="
            " (for a server that wants none, any text)"
        )

    def lookup(self) -> Looked:
        """The variables' values now, in the table's order."""
        return self._variables.look()

    @functools.cached_property
    def _variables(self) -> Variables:
        return Variables(self.environment)
