"""An issuer's public keys, fetched off the event loop and kept for a while.

`jwt.PyJWKClient` fetches and reads them. What it has no answer to is here: many requests that
meet an expired cache at once fetch once, and neither a token with an unknown key nor an issuer
that is down makes each request wait for the network.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Final

import jwt

from llmkeep.service.errors import Unavailable

logger = logging.getLogger(__name__)

#: Seconds after which keys are fetched again.
LIFESPAN: Final = 300.0

#: Seconds before they are fetched again for a key that is not among them, or after a failure.
COOLDOWN: Final = 10.0

#: Seconds for which keys are used while the issuer cannot be reached.
GRACE: Final = 3600.0

#: Seconds that the issuer gets to answer.
TIMEOUT: Final = 5.0


class KeySet:
    """The keys at one address."""

    def __init__(self, address: str) -> None:
        self._client: Final = jwt.PyJWKClient(address, cache_jwk_set=False, timeout=TIMEOUT)
        self._fetching: Final = asyncio.Lock()
        self._keys: Mapping[str | None, jwt.PyJWK] = {}
        self._fetched = self._tried = -float("inf")

    async def key(self, key_id: str | None) -> jwt.PyJWK:
        """The key of that id.

        Raises jwt.InvalidKeyError where there is none, Unavailable where the issuer cannot be
        asked.
        """
        if not self._is_known(key_id):
            async with self._fetching:
                if not self._is_known(key_id) and time.monotonic() >= self._tried + COOLDOWN:
                    await self._fetch()
        if time.monotonic() > self._fetched + GRACE:
            raise Unavailable(
                "the issuer's keys cannot be fetched: see SERVICE__JWT_JWKS_URL",
                headers={"Retry-After": f"{COOLDOWN:.0f}"},
            )
        try:
            return self._keys[key_id]
        except KeyError:
            raise jwt.InvalidKeyError("no such key") from None

    def _is_known(self, key_id: str | None) -> bool:
        return key_id in self._keys and time.monotonic() < self._fetched + LIFESPAN

    async def _fetch(self) -> None:
        self._tried = time.monotonic()
        try:
            # A thread of the loop's own pool: one at a time, and for TIMEOUT at most.
            keys = await asyncio.to_thread(self._client.get_signing_keys)
        except (jwt.PyJWTError, ValueError, OSError) as error:
            logger.warning("the issuer's keys cannot be fetched: %s", type(error).__name__)
            return
        self._keys = {key.key_id: key for key in keys}
        self._fetched = self._tried = time.monotonic()
