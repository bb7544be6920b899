"""What a configuration means under the environment of one moment.

`Resolved` holds what the model class itself made of the arguments: the validated fields, hence the
key, and the way to build the instance. Finding out constructs the class once, for only the class
knows its defaults, aliases and variables; the object so made becomes the kept instance, so that
nothing is built twice. Not here: when to look again (`configuration`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, Final, final

import pydantic
from langchain_core.language_models import BaseChatModel

from llmkeep.core import LLMKeepError, Spec, freeze

from .adapters import Adapter, Kept, ModelConfigurationError
from .arguments import field_names, own_copy
from .environment import Looked
from .identity import is_object, structure
from .masking import masked, scrubbed


class EnvironmentChanged(LLMKeepError):
    """A variable changed while a model was constructed; whoever sees it looks again."""


@final
class Resolved:
    """What a configuration means under one environment; lives as long as it is cached or in use."""

    __slots__ = (
        "_answers",
        "_arguments",
        "_fresh",
        "_structure",
        "adapter",
        "fields",
        "fields_set",
        "handle_fields",
        "label",
        "looked",
        "model_class",
        "spec",
    )

    def __init__(
        self, adapter: Adapter, label: str, arguments: dict[str, Any], looked: Looked
    ) -> None:
        self.adapter: Final = adapter
        self.label: Final = label
        self.looked: Final = looked
        self._arguments: Final = arguments
        kept = self._construct()
        model = kept.model
        self.model_class: Final = type(model)
        parts, built = _parts(adapter, model, self._arguments, looked)
        self._structure: Final = (adapter.provider, *sorted(parts.items()))
        sealed = freeze((adapter.serial, self._structure))
        #: The caches are told the key, and build from this.
        self.spec: Final = Spec(self, sealed.key, sealed.foreign)
        shown = {name: masked(value, name) for name, value in _fields(model) if name not in built}
        self.fields: Final = {n: v for n, v in shown.items() if n not in adapter.handle_fields}
        #: What the class has put there itself (profile, versions for tracing).
        self.handle_fields: Final = {
            n: shown[n] for n in model.model_fields_set & adapter.handle_fields
        }
        self.fields_set: Final = frozenset(model.model_fields_set & self.fields.keys())
        #: The object made here, until the first build takes it.
        self._fresh: Final = [kept]
        self._answers: str | None = None

    def build(self) -> Kept:
        """The instance. Raises EnvironmentChanged when it would not be the one of this key."""
        try:
            kept = self._fresh.pop()
        except IndexError:
            return self.build_anew()
        self.adapter.open(kept)
        return kept

    def build_anew(self) -> Kept:
        """The instance, constructed here and now: on the loop that will use it."""
        kept = self._construct()
        self.adapter.open(kept)
        return kept

    def _construct(self) -> Kept:
        if self.adapter.lookup() == self.looked:
            kept = _construct(self.adapter, self._arguments)
            if self.adapter.lookup() == self.looked:
                return kept
        raise EnvironmentChanged(f"{self.label}: the environment changed while it was read")

    def forget_fresh(self) -> None:
        """Let the object made here go, unless a build took it; nothing was opened by it yet."""
        self._fresh.clear()

    @property
    def answers(self) -> str:
        """What tells this configuration's answers from another's in an LLM cache.

        Unlike the key it is the same in every process, for such a cache may be on disk; so it is
        stretched, which leaves nothing to be guessed back from it.
        """
        if self._answers is None:
            written = repr(self._structure).encode("utf-8", "surrogatepass")
            digest = hashlib.pbkdf2_hmac("sha256", written, b"llmkeep answers", 20_000, 16)
            self._answers = digest.hex()
        return self._answers

    def __repr__(self) -> str:
        return f"<Resolved {self.label} {self.spec.key[:8]}>"

    def __reduce__(self) -> Any:
        raise TypeError("a Resolved holds credentials and is not pickled")


def _fields(model: BaseChatModel) -> Iterator[tuple[str, Any]]:
    fields = type(model).model_fields
    return ((name, value) for name, value in vars(model).items() if name in fields)


def _parts(
    adapter: Adapter, model: BaseChatModel, arguments: Mapping[str, Any], looked: Looked
) -> tuple[dict[str, Any], set[str]]:
    """What makes this model another than others, and the fields that it filled with objects.

    An object in a field that nobody gave was made by the class out of the other fields, mostly an
    SDK client: it is no part of the identity, and no handle has it. An object that was given
    counts as what was given.
    """
    given = field_names(type(model), arguments)
    parts: dict[str, Any] = {"": f"{type(model).__module__}.{type(model).__qualname__}"}
    built: set[str] = set()
    for name, value in _fields(model):
        if name in adapter.handle_fields:
            continue
        if not is_object(value):
            parts[name] = structure(value)
        elif given.get(name) is not None:
            parts[name] = structure(given[name])
        elif value is not type(model).model_fields[name].default:
            built.add(name)
    if model.model_extra:
        parts[" extra"] = structure(model.model_extra)
    nothing = structure(None)
    for (variable, field), value in zip(adapter.environment.items(), looked, strict=True):
        if field is None and value is not None:
            parts[f" {variable}"] = value
        elif field is not None and value and parts.get(field, nothing) == nothing:
            parts[field] = structure(value)  # the SDK reads it, where the class left it to it
    return parts, built


def _construct(adapter: Adapter, arguments: Mapping[str, Any]) -> Kept:
    """Construct the class, or raise an error that names what to change and shows no credential."""
    try:
        kept = adapter.construct(own_copy(arguments))
    except LLMKeepError:
        raise
    except pydantic.ValidationError as refused:
        problem: Exception = _told(adapter, refused, arguments)
    except Exception:
        if not _key_is_nowhere(adapter, arguments):
            raise
        problem = adapter.missing_key()
    else:
        if not adapter.lacks_key(kept.model):
            return kept
        problem = adapter.missing_key()
    # Raised here, the original is not its context: pydantic's quotes what it was given.
    raise problem


def _key_is_nowhere(adapter: Adapter, arguments: Mapping[str, Any]) -> bool:
    if adapter.key is None:
        return False
    given = field_names(adapter.model_class(), arguments)
    variables = zip(adapter.environment.values(), adapter.lookup(), strict=True)
    return not given.get(adapter.key) and not any(
        value for field, value in variables if field == adapter.key
    )


def _told(
    adapter: Adapter, refused: pydantic.ValidationError, arguments: Mapping[str, Any]
) -> ModelConfigurationError:
    if _key_is_nowhere(adapter, arguments):
        fields = {str(each["loc"][0]) for each in refused.errors() if each["loc"]}
        if adapter.key in field_names(adapter.model_class(), dict.fromkeys(fields)):
            return adapter.missing_key()
    problems = refused.errors(include_input=False, include_context=False, include_url=False)
    lines = (": ".join((*map(str, each["loc"]), each["msg"])) for each in problems)
    return ModelConfigurationError(
        scrubbed(f"{adapter.provider}: {'; '.join(lines)}", dict(arguments))
    )
