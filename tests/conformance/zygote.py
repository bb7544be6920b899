"""The process of which every run is a fork: it has imported what they need, and done nothing else.

`python -m tests.conformance.zygote MODULE...` reads a line of JSON per run and answers with two:
the process id, and how it ended. A run is a process of its own that ends as any interpreter does.
"""

from __future__ import annotations

import faulthandler
import importlib
import json
import os
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from .outcome import DoesNotApply, in_general
from .stage import Stage, load_scenarios
from .subject import load
from .upstream import Address


def play(order: dict[str, Any]) -> None:
    """Run one scenario on one subject, and write what it came to."""
    subject = load(order["subject"])
    chosen = load_scenarios()[order["scenario"]]
    stage = Stage(subject, Address(order["url"], order["authority"]))
    watchdog = threading.Timer(order["limit"], give_up, [stage, order])
    watchdog.daemon = True
    watchdog.start()
    began = time.perf_counter()
    try:
        chosen.play(stage)
    except DoesNotApply as reason:
        stage.outcome.applies, stage.outcome.reason = False, str(reason)
    except Exception as error:
        stage.outcome.reason = in_general(f"{type(error).__name__}: {error}")
        Path(order["trace"]).write_text(traceback.format_exc())
    watchdog.cancel()
    watchdog.join()
    stage.outcome.seconds = time.perf_counter() - began
    Path(order["result"]).write_text(json.dumps(stage.finish().to_json()))


def give_up(stage: Stage, order: dict[str, Any]) -> None:
    """The scenario itself hangs: say so, and end."""
    stage.hanging(1)
    stage.outcome.seconds = order["limit"]
    with Path(order["trace"]).open("w") as trace:
        faulthandler.dump_traceback(trace)
    Path(order["result"]).write_text(json.dumps(stage.finish().to_json()))
    os._exit(0)


def fork(order: dict[str, Any]) -> int:
    """The process id of the run; does not return in the run itself."""
    pid = os.fork()
    if pid:
        return pid
    os.setsid()
    output = os.open(order["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for target, source in ((0, nothing), (1, output), (2, output)):
        os.dup2(source, target)
    os.environ.update(order["environment"])
    play(order)
    sys.exit(0)


def main() -> None:
    """Serve orders until there are no more."""
    for module in sys.argv[1:]:
        importlib.import_module(module)
    load_scenarios()
    print("ready", flush=True)
    for line in sys.stdin:
        pid = fork(json.loads(line))
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
