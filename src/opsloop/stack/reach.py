"""The servers of a running stack, for commands that ask them."""

from __future__ import annotations

from pathlib import Path

from opsloop import names
from opsloop.drivers.http import BasicAuth, HttpClient
from opsloop.drivers.prometheus import Prometheus
from opsloop.errors import NotRunning
from opsloop.settings import Ports
from opsloop.stack.state import StateFolder

QUERY_TIMEOUT_S = 30.0  # a person waits, and a range over a long period takes its time


def prometheus_of(state: Path) -> Prometheus:
    """The Prometheus of the stack in `state`. Raises NotRunning when none is up."""
    url, auth = prometheus_address(state)
    return Prometheus(HttpClient(timeout_s=QUERY_TIMEOUT_S), url, auth, timeout_s=QUERY_TIMEOUT_S)


def prometheus_address(state: Path) -> tuple[str, BasicAuth]:
    """Its URL, and who may ask it. Raises NotRunning when the stack is not up."""
    folder = StateFolder(state)
    info = folder.read()
    if info is None or not info.started:
        raise NotRunning(
            f"the stack in {folder.root}", "is not running", "start it with `opsloop up`"
        )
    auth = BasicAuth(names.SCRAPE_USER, folder.secrets / names.SECRET_SCRAPE_PASSWORD)
    return f"http://127.0.0.1:{Ports(info.port_base).prometheus}", auth
