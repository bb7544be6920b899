"""Every failure that bites people today, replayed on us and on our peers.

`python -m tests.conformance --help`; tests run our column of it. Not here: what holds inside
llmkeep under every interleaving, which tests/core and tests/schedules show.
"""
