"""One certificate authority of the test run's own, and a server's certificate for the loopback."""

from __future__ import annotations

import atexit
import functools
import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Certificates:
    """The authority's file for clients, the server's chain for servers."""

    authority: Path
    server: Path

    def client_context(self) -> ssl.SSLContext:
        """A new context that trusts the authority and nobody else."""
        return ssl.create_default_context(cafile=str(self.authority))

    def server_context(self, *protocols: str) -> ssl.SSLContext:
        """A new context for a server that offers these application protocols."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.server)
        context.set_alpn_protocols(list(protocols))
        return context


@functools.cache
def certificates() -> Certificates:
    """The test run's certificates, made on first use and removed with the interpreter."""
    folder = tempfile.TemporaryDirectory(prefix="llmkeep-tests-")
    atexit.register(folder.cleanup)
    authority, server = Path(folder.name, "authority.pem"), Path(folder.name, "server.pem")
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(authority))
    ca.issue_cert("localhost", "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
        str(server)
    )
    return Certificates(authority, server)
