"""The handle: a chat model that has no client of its own and leases a kept instance per call.

A handle is an instance of a subclass of the provider's model class, so everything that asks what a
model is gets the same answer as for a bare one. It carries the validated fields, with credentials
masked and clients left out. What talks to the provider leases the instance and runs the class's
own method on that; everything else (binding tools, structured output, tracing, caching, rate
limits, callbacks) is the class's own code, run on the handle.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final, NoReturn

import pydantic
from langchain_core.language_models import BaseChatModel

from . import caches
from .adapters import HANDLE_FIELDS, Adapter, ModelConfigurationError
from .arguments import field_names, own_copy
from .configuration import Configuration
from .leasing import leased_methods
from .resolving import Resolved

#: The field that holds the sealed configuration, so that it goes wherever the fields go.
SEALED: Final = "llmkeep_configuration"


def handle_of(configuration: Configuration, own: Mapping[str, Any]) -> ModelHandle:
    """A handle for `configuration`, with the fields in `own` on itself; the instance is ready.

    Raises ModelConfigurationError or MissingExtra, one line, when there can be no such model.
    """
    checked = _checked(configuration, own)
    resolved = configuration.resolve()
    caches.warm(resolved)
    resolved.forget_fresh()  # another configuration had made the same instance before
    handle: ModelHandle = _handle_class(resolved)._made(configuration, resolved, checked)
    return handle


class Handle:
    """What a handle has beside its model class; never used alone."""

    llmkeep_adapter: ClassVar[Adapter]
    llmkeep_model_class: ClassVar[type[BaseChatModel]]

    def __init__(self, *_: Any, **values: Any) -> None:
        """Make the handle that `chat_model` would make; with a handle's own fields, a changed one.

        `RunnableConfigurableFields` calls the class with all fields of a handle and some changed.
        """
        configuration = values.pop(SEALED, None)
        own = _own_fields(self.llmkeep_adapter, values)
        if configuration is None:
            configuration = Configuration(self.llmkeep_adapter, values)
        else:
            configuration = _changed(configuration, self.llmkeep_model_class, values)
        made: Any = handle_of(configuration, own)
        self.__setstate__(made.__getstate__())

    @classmethod
    def _made(cls, configuration: Configuration, resolved: Resolved, own: dict[str, Any]) -> Any:
        usual = own_copy(resolved.handle_fields)
        metadata = {**(own.get("metadata") or {}), **usual["metadata"]}  # the classes' versions
        own = {**usual, **own, "metadata": metadata}
        values = {**own_copy(resolved.fields), **own, SEALED: configuration}
        fields_set = resolved.fields_set | own.keys()
        handle: Any = cls.model_construct(_fields_set=set(fields_set), **values)  # type: ignore[attr-defined]
        for name in vars(handle).keys() - values.keys() - resolved.adapter.handle_fields:
            del vars(handle)[name]  # a client: __getattr__ says where it is
        return handle

    # -- what it does itself -----------------------------------------------------------------------

    def invalidate(self) -> bool:
        """Retire the kept instance, so that the next call gets a new one; True if there was one.

        Calls and streams that are using it keep it until they end.
        """
        resolved = _sealed(self).resolve()
        return caches.default_cache().of(resolved).invalidate(resolved.spec)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Any:
        """A copy; where `update` has anything that is sent, a handle of another configuration."""
        changes = field_names(self.llmkeep_model_class, update or {})
        own = _own_fields(self.llmkeep_adapter, changes)
        if not changes:
            return super().model_copy(update=own, deep=deep)  # type: ignore[misc]
        changed = _changed(_sealed(self), self.llmkeep_model_class, changes)
        return handle_of(changed, {**_given(self), **own})

    def _get_llm_string(self, stop: list[str] | None = None, **kwargs: Any) -> str:
        # The class leaves out of it whatever its serialisation leaves out, credentials first.
        text: str = super()._get_llm_string(stop, **kwargs)  # type: ignore[misc]
        return f"{text}---{_sealed(self).resolve().answers}"

    @classmethod
    def get_lc_namespace(cls) -> list[str]:
        """Where LangChain's serialisation finds the model class."""
        return cls.llmkeep_model_class.get_lc_namespace()

    @classmethod
    def lc_id(cls) -> list[str]:
        """Serialise as the model class."""
        return cls.llmkeep_model_class.lc_id()

    # -- what it refuses ---------------------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        if name in type(self).__pydantic_fields__:  # type: ignore[attr-defined]
            _refuse(name)
        return super().__getattr__(name)  # type: ignore[misc]

    def __setattr__(self, name: str, value: Any) -> None:
        fields = type(self).__pydantic_fields__  # type: ignore[attr-defined]
        if name in fields and name not in self.llmkeep_adapter.handle_fields:
            raise AttributeError(
                f"{name} belongs to the sealed configuration and cannot be changed: "
                f"use llm.model_copy(update={{{name!r}: ...}})"
            )
        super().__setattr__(name, value)

    # -- copies, text, pickle ----------------------------------------------------------------------

    def __repr__(self) -> str:
        return f"<{type(self).__name__} handle, {_sealed(self)!r:.200}>"

    __str__ = __repr__

    def __reduce__(self) -> Any:
        sealed = _sealed(self).for_pickle(self.llmkeep_model_class)
        return _from_pickle, (*sealed, _given(self))


if TYPE_CHECKING:

    class ModelHandle(BaseChatModel):
        """What `chat_model` returns: an instance of the provider's class, and this."""

        llmkeep_configuration: Configuration

        def invalidate(self) -> bool:
            """Retire the kept instance; True if there was one."""
            raise NotImplementedError
else:
    ModelHandle = Handle


def _sealed(handle: Handle) -> Configuration:
    return vars(handle)[SEALED]  # type: ignore[no-any-return]


def _given(handle: Any) -> dict[str, Any]:
    """What somebody put on this handle, beside what every handle of the configuration has."""
    usual = _sealed(handle).resolve().handle_fields
    return {
        name: vars(handle)[name]
        for name in handle.llmkeep_adapter.handle_fields & handle.model_fields_set
        if name not in usual or vars(handle)[name] != usual[name]
    }


def _refuse(name: str) -> NoReturn:
    raise AttributeError(
        f"a handle has no {name}: clients are with the kept instance and must not be used beside "
        "its lease; call the model's own methods, or construct the provider's class yourself"
    )


def _own_fields(adapter: Adapter, values: dict[str, Any]) -> dict[str, Any]:
    """Take out of `values` what lives on a handle."""
    return {name: values.pop(name) for name in adapter.handle_fields & values.keys()}


def _changed(
    configuration: Configuration, model_class: type[BaseChatModel], values: Mapping[str, Any]
) -> Configuration:
    """`configuration` with those of `values` that are not what its handles show already."""
    shown = configuration.resolve().fields
    changes = {
        name: value
        for name, value in field_names(model_class, values).items()
        if name not in shown or not (shown[name] is value or shown[name] == value)
    }
    return configuration.changed(model_class, changes) if changes else configuration


_OwnFields: Final = pydantic.create_model(  # type: ignore[call-overload]
    "HandleFields",
    __config__=pydantic.ConfigDict(arbitrary_types_allowed=True),
    **{
        name: (field.annotation, field)
        for name, field in BaseChatModel.model_fields.items()
        if name in HANDLE_FIELDS
    },
)


def _checked(configuration: Configuration, own: Mapping[str, Any]) -> dict[str, Any]:
    """`own` as the model class would have validated it."""
    if not own:
        return {}
    try:
        checked = _OwnFields(**own)
    except pydantic.ValidationError as refused:
        problems = refused.errors(include_input=False, include_context=False, include_url=False)
    else:
        return {name: getattr(checked, name) for name in checked.model_fields_set}
    lines = (": ".join((*map(str, each["loc"]), each["msg"])) for each in problems)
    raise ModelConfigurationError(f"{configuration.label}: {'; '.join(lines)}")


#: The handle class of each model class and adapter, made once.
_classes: Final[dict[tuple[type[BaseChatModel], int], Any]] = {}


def _handle_class(resolved: Resolved) -> Any:
    model_class, adapter = resolved.model_class, resolved.adapter
    key = (model_class, adapter.serial)
    # Without a lock, which a fork could catch held: of two new ones the first stays.
    return _classes.get(key) or _classes.setdefault(key, _make_class(model_class, adapter))


def _make_class(model_class: type[BaseChatModel], adapter: Adapter) -> Any:
    class Made(Handle, model_class):  # type: ignore[misc, valid-type]
        llmkeep_adapter: ClassVar[Adapter] = adapter
        llmkeep_model_class: ClassVar[type[BaseChatModel]] = model_class
        llmkeep_configuration: Any = pydantic.Field(default=None, exclude=True, repr=False)

    # Tracing and LangChain's defaults name a model by its class.
    Made.__name__ = model_class.__name__
    Made.__qualname__ = model_class.__qualname__
    Made.__doc__ = model_class.__doc__
    for name, method in leased_methods(model_class, adapter, _sealed).items():
        setattr(Made, name, method)
    for name in adapter.sealed:
        setattr(Made, name, property(functools.partial(_refuse_attribute, name)))
    return Made


def _refuse_attribute(name: str, _: object) -> NoReturn:
    _refuse(name)


def _from_pickle(provider: str, arguments: Any, missing: tuple[str, ...], own: Any) -> Any:
    return handle_of(Configuration.from_pickle(provider, arguments, missing), own)
