"""A Celery application that asks; its broker and its results are files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from celery import Celery  # type: ignore[import-untyped]

from . import forked

_folder = Path(os.environ["CONFORMANCE_FOLDER"])

app: Any = Celery("conformance")
app.conf.update(
    broker_url="filesystem://",
    broker_transport_options={
        "data_folder_in": str(_folder / "broker"),
        "data_folder_out": str(_folder / "broker"),
        "control_folder": str(_folder / "control"),
    },
    result_backend=f"file://{_folder / 'results'}",
    worker_enable_remote_control=False,
    task_default_queue="conformance",
)


@app.task(name="ask")
def ask() -> Any:
    """What a worker counted."""
    assert forked._loaded is not None
    return json.loads(forked._loaded.ask())
