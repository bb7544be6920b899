"""What llmkeep costs, beside its peers in the same run: `python -m benchmarks`, or `make bench`.

One file per subject, each a program of its own too (`python -m benchmarks.hot`). They print ratios
and assert nothing: a number depends on the machine, a ratio to a peer measured in the same minute
much less so. `harness` says how it is measured.
"""
