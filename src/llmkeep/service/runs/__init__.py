"""Runs: what the agent does for a user, apart from the connections that watch it.

    plan        what a request comes to (pure)            placing    what the store knows for it
    queueing    one run of a thread at a time             live_run   one run's life
    fold        events into messages (pure)               events     our own events (pure)
    journal     all runs' writes in few transactions      recovery   the end of runs that have none
    readers     following a run; `tail`, `snapshot`       attendance who still wants a run
    mending     runs that could not be stored             titles     what a thread is called (pure)
    compat      what older clients are told               manager    `Runs`: all of it

What is promised, and where each promise is kept:

R1  A reader never sees what a killed process would forget: frames are published after their
    transaction (`journal`).
R2  A run ends in exactly one terminal event, its last, whatever happens (`live_run`). Where the
    store cannot be written, its readers get a RUN_ERROR that is in no store, and the run is brought
    to its end when the store works again, or at the next start (`recovery`).
R3  From n a reader gets exactly n+1, n+2 .., live or ended (`readers`).
R4  No reader slows a run or another reader: they pull, and nothing is kept for one (`tail`).
R5  Events and the messages that follow from them are in one transaction, and the fold of a log is
    what the table holds (`live_run._tell`, `fold`).
R6  The runs of a thread go one at a time, in the order in which they came (`queueing`).
R7  What a run leaves is durable before the next of its thread begins: it leaves the line when all
    of it is stored (`live_run._live`, `queueing`).
R8  A run that nobody wants any more is stopped at once (`attendance`); one that goes on without
    readers has a time limit (`live_run`).
"""

from .compat import translator
from .live_run import Handlers
from .manager import Runs
from .readers import Reader
from .watching import Metrics

__all__ = ["Handlers", "Metrics", "Reader", "Runs", "translator"]
