"""The page: built files, served from the package; none of their names is known here.

What is under `assets/` has its content's hash in its name and is kept by browsers for ever;
everything else is asked for again each time. The page has addresses of its own, which all get
its one document.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, final

from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send
from typing_extensions import override

#: Where a build puts it, and a wheel carries it.
FOLDER: Final = Path(__file__).resolve().parents[1] / "static"

DOCUMENT: Final = "index.html"

_NO_PAGE: Final = (
    "The service runs, but this installation has no page: `make serve` builds it in a checkout.\n"
    "The interface is at /api: /api/openapi.json describes it.\n"
)


def is_built(folder: Path = FOLDER) -> bool:
    """Whether there is a page."""
    return (folder / DOCUMENT).is_file()


@final
class Page(StaticFiles):
    """Answers whatever no route answers."""

    def __init__(self, folder: Path = FOLDER) -> None:
        super().__init__(directory=folder, check_dir=False)
        self._is_built: Final = is_built(folder)

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._is_built:
            await super().__call__(scope, receive, send)
            return
        response = self._without_page(scope)
        await response(scope, receive, send)

    @override
    async def get_response(self, path: str, scope: Scope) -> Response:
        if _is_api(path):
            raise HTTPException(404)
        try:
            response = await super().get_response(path, scope)
        except HTTPException as error:
            if error.status_code != 404 or _is_file(path):
                raise
            response = await super().get_response(DOCUMENT, scope)
        is_for_ever = Path(path).parts[:1] == ("assets",) and response.status_code < 400
        response.headers["Cache-Control"] = (
            "public, max-age=31536000, immutable" if is_for_ever else "no-cache"
        )
        return response

    def _without_page(self, scope: Scope) -> Response:
        if scope["path"] == "/" and scope["method"] in ("GET", "HEAD"):
            return PlainTextResponse(_NO_PAGE, headers={"Cache-Control": "no-store"})
        raise HTTPException(404)


def _is_file(path: str) -> bool:
    """Whether it names a file, not one of the page's addresses: those may hold an id with dots."""
    parts = Path(path).parts
    return parts[:1] in (("assets",), ("..",)) or (len(parts) == 1 and bool(Path(path).suffix))


def _is_api(path: str) -> bool:
    return Path(path).parts[:1] == ("api",)
