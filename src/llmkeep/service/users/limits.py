"""How much a user may do: `interfaces.Limiter` for one process.

Requests are counted in memory, over a window that moves; runs by whoever runs them; tokens by the
store, so that a restart forgets nothing. The window is package `limits`' own: an edition for
several processes gives it one of that package's Redis storages instead of `RecentHits`.
"""

from __future__ import annotations

import math
import time
from collections import Counter, OrderedDict, deque
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Final, final

from limits import RateLimitItemPerMinute
from limits.aio.storage import MovingWindowSupport, Storage
from limits.aio.strategies import MovingWindowRateLimiter
from typing_extensions import override

from llmkeep.service.errors import TooLarge, TooMany
from llmkeep.service.interfaces import Limiter, Store
from llmkeep.service.records import Principal
from llmkeep.settings import ServiceSettings

#: Seconds after which it is worth to ask whether a run has ended.
_RUN_RETRY: Final = 5


@final
class UserLimits(Limiter):
    """The limits of the settings, as they are at the moment."""

    def __init__(self, settings: ServiceSettings, store: Store) -> None:
        self._settings: Final = settings
        self._store: Final = store
        self._requests: Final = MovingWindowRateLimiter(RecentHits())
        self._asking: Final[Counter[str]] = Counter()

    @override
    async def take_request(self, who: Principal) -> None:
        limit = RateLimitItemPerMinute(self._settings.requests_per_minute)
        if await self._requests.hit(limit, who.user):
            return
        window = await self._requests.get_window_stats(limit, who.user)
        seconds = max(1, math.ceil(window.reset_time - time.monotonic()))
        raise TooMany(
            f"more than {limit.amount} requests in a minute: try again in {seconds} s",
            code="rate_limited",
            headers={"Retry-After": str(seconds)},
        )

    @override
    async def check_run(self, who: Principal, *, running: int, characters: int) -> None:
        if characters > (longest := self._settings.message_characters):
            raise TooLarge(
                f"a message has at most {longest:,} characters, this one {characters:,}: shorten it"
            )
        # Whoever is being asked about counts: `running` is from before the wait below.
        self._asking[who.user] += 1
        try:
            if running + self._asking[who.user] > (most := self._settings.concurrent_runs):
                raise TooMany(
                    f"{most} runs are under way: wait until one has ended, or stop one",
                    code="too_many_runs",
                    headers={"Retry-After": str(_RUN_RETRY)},
                )
            await self._check_tokens(who.user)
        finally:
            self._asking[who.user] -= 1
            if not self._asking[who.user]:
                del self._asking[who.user]

    async def tokens_today(self, user: str) -> int:
        """The tokens of the user's runs since midnight, UTC."""
        return await self._store.tokens_since(user, _midnight())

    async def _check_tokens(self, user: str) -> None:
        most = self._settings.tokens_per_day
        if most is None or await self.tokens_today(user) < most:
            return
        tomorrow = _midnight() + timedelta(days=1)
        seconds = max(1, math.ceil((tomorrow - datetime.now(UTC)).total_seconds()))
        raise TooMany(
            f"today's {most:,} tokens are spent: go on after midnight, UTC",
            code="tokens_spent",
            headers={"Retry-After": str(seconds)},
        )


def _midnight() -> datetime:
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


@final
class RecentHits(Storage, MovingWindowSupport):
    """Moments of recent hits by key; a key is forgotten when its last hit is too old to count.

    The package's own storage in memory walks through all keys at each hit, and asks another thread
    about each: 2 ms of processor time per hit with a thousand users, for ever. Here a hit looks at
    the two keys that have been quiet for longest.
    """

    STORAGE_SCHEME = None

    def __init__(self) -> None:
        super().__init__()
        self._hits: Final[OrderedDict[str, deque[float]]] = OrderedDict()

    def __len__(self) -> int:
        """How many keys are remembered."""
        return len(self._hits)

    @override
    async def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Whether there may be `amount` more hits; if so, they are remembered."""
        now = time.monotonic()
        hits = self._hits.setdefault(key, deque())
        self._hits.move_to_end(key)
        while hits and hits[0] <= now - expiry:
            hits.popleft()
        is_let = len(hits) + amount <= limit
        if is_let:
            hits.extend([now] * amount)
        self._forget(now - expiry)
        return is_let

    @override
    async def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """When the oldest hit that counts was, and how many there are."""
        now = time.monotonic()
        recent = [moment for moment in self._hits.get(key, ()) if moment > now - expiry]
        return (recent[0] if recent else now), len(recent)

    def _forget(self, before: float) -> None:
        for key in list(islice(self._hits, 2)):
            hits = self._hits[key]
            if not hits or hits[-1] <= before:
                del self._hits[key]

    # --- what a fixed window would need, and nobody asks for ---

    @property
    @override
    def base_exceptions(self) -> type[Exception]:
        return ValueError

    @override
    async def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        raise NotImplementedError

    @override
    async def get(self, key: str) -> int:
        raise NotImplementedError

    @override
    async def get_expiry(self, key: str) -> float:
        raise NotImplementedError

    @override
    async def check(self) -> bool:
        return True

    @override
    async def reset(self) -> int | None:
        self._hits.clear()
        return None

    @override
    async def clear(self, key: str) -> None:
        self._hits.pop(key, None)
