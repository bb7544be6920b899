"""Stand-ins and helpers that the tests of several layers share."""
