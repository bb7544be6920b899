"""For tests of code that keeps clients: a pytest plugin, and a client and factory to test with.

The plugin (`plugin.py`) is loaded by pytest's entry point, and does nothing for a test that does
not ask for it. Not here: fake providers or models; LangChain has those.
"""

from .fakes import FakeClient, FakeFactory

__all__ = ["FakeClient", "FakeFactory"]
