"""What is spoken: AG-UI at `/api/agent`, and beside it threads, runs, the cache, health, the page.

Not here: what a run is (`runs`), who may speak (`users`, `security`), where things are kept
(`storage`). A route checks form, asks one of those, and puts what it gets into words.
"""
