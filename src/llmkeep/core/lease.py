"""A lease: the right to use an instance. One borrow; lives until it is returned."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, final

from .errors import CacheClosed, LeaseMisuse
from .instance import State

if TYPE_CHECKING:
    from .cache import ClientCache
    from .instance import Instance
    from .sites import Site
    from .specs import Spec

T = TypeVar("T")

#: The token of a lease that was entered and is not granted yet.
WAITING: Final = -1


@final
class Lease(Generic[T]):
    """Use it once, in a `with` or `async with` statement: `with cache.lease(spec) as client`.

    Nothing happens before it is entered. It may be left on another thread or event loop than it
    was entered on. Leaving never waits and cannot be cancelled. A lease that is dropped without
    being left is returned by its finalizer, with a ResourceWarning that names the line.

    Entering raises what the build raises, or `LeaseTimeout`, `BuildTimeout`, `CacheClosed`,
    `WouldDeadlock`, and `LeaseMisuse` the second time.
    """

    __slots__ = ("build", "cache", "instance", "site", "spec", "timeout", "token")

    # All set by `ClientCache.lease`: calling an `__init__` would take longer than that.
    cache: ClientCache[Any, T]
    spec: Spec
    timeout: float | None
    build: Callable[[Any], Any] | None
    site: Site
    #: What it holds while it is out.
    instance: Instance | None
    #: Its number among the leases granted; 0 before it was entered, WAITING until it is granted.
    token: int

    def __enter__(self) -> T:
        if self.token:
            raise _used_twice()
        self.token = WAITING
        cache = self.cache
        ledger = cache._ledger
        instance = ledger.take(ledger.home, self)
        if instance is None:
            cache._wait_for(self.spec, self.timeout, self.build, self)
            instance = self.instance
        client = instance.client  # type: ignore[union-attr]
        if client is None:
            self._refuse_closed(instance)
        return client  # type: ignore[no-any-return]

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        instance = self.instance
        if instance is None:
            raise _not_out(self.token)
        # In this order: if a signal handler raises in between, the finalizer returns it again.
        instance.ledger.give_back(instance, self.token)
        self.instance = None

    async def __aenter__(self) -> T:
        if self.token:
            raise _used_twice()
        self.token = WAITING
        cache = self.cache
        instance = cache._ledger.take(cache._home_here(), self)
        if instance is None:
            await cache._await_for(self.spec, self.timeout, self.build, self)
            instance = self.instance
        client = instance.client  # type: ignore[union-attr]
        if client is None:
            self._refuse_closed(instance)
        return client  # type: ignore[no-any-return]

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, trace)

    def __del__(self) -> None:
        try:
            instance = self.instance
        except AttributeError:
            return  # it was not even made
        if instance is not None:
            try:
                instance.ledger.give_back(instance, self.token, True)
            except BaseException:
                # Interrupted, and nobody will be told of it: once more, a second time does nothing.
                instance.ledger.give_back(instance, self.token, True)
                raise

    def _refuse_closed(self, instance: Any) -> None:
        """A shutdown broke this lease before its taker had the client."""
        if instance.state is State.CLOSED:
            self.instance = None
            raise CacheClosed("the cache was closed, and its deadline passed, in this very moment")

    def __repr__(self) -> str:
        state = "out" if self.instance else ("used" if self.token else "not entered")
        return f"<Lease of {self.spec.key[:8]}, {state}>"


def _used_twice() -> LeaseMisuse:
    return LeaseMisuse("a lease is used once: call cache.lease(...) again for another")


def _not_out(token: int) -> LeaseMisuse:
    if token:
        return LeaseMisuse("this lease has been returned already")
    return LeaseMisuse("this lease was never entered: use it in a with statement")
