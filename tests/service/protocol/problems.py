"""Hooks for Schemathesis: what it looks at beside its own checks."""

from __future__ import annotations

import schemathesis


@schemathesis.check
def every_refusal_is_a_problem(
    ctx: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case
) -> None:
    """Raises AssertionError for an error that is no RFC 9457 problem, or says nothing."""
    if response.status_code < 400:
        return
    assert response.headers["content-type"] == ["application/problem+json"], "not a problem"
    problem = response.json()
    assert problem["status"] == response.status_code
    assert problem["code"]
    assert problem["detail"]
