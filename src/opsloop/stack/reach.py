"""The servers of a running stack, for commands that ask them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from opsloop import names
from opsloop.drivers.http import BasicAuth, HttpClient
from opsloop.drivers.prometheus import Prometheus
from opsloop.drivers.rules import AlertRules
from opsloop.drivers.silences import AlertDesk
from opsloop.errors import NotRunning
from opsloop.settings import Ports
from opsloop.stack.state import StateFolder

if TYPE_CHECKING:
    from opsloop.catalog.facts import EngineInput

QUERY_TIMEOUT_S = 30.0  # a person waits, and a range over a long period takes its time
LIST_TIMEOUT_S = 5.0  # lists are short; one that hangs must not hide the other


def prometheus_of(state: Path) -> Prometheus:
    """The Prometheus of the stack in `state`. Raises NotRunning when none is up."""
    url, auth = prometheus_address(state)
    return Prometheus(HttpClient(timeout_s=QUERY_TIMEOUT_S), url, auth, timeout_s=QUERY_TIMEOUT_S)


def prometheus_address(state: Path) -> tuple[str, BasicAuth]:
    """Its URL, and who may ask it. Raises NotRunning when the stack is not up."""
    ports, auth = _running(state)
    return f"http://127.0.0.1:{ports.prometheus}", auth


def rules_of(state: Path) -> AlertRules:
    """The rules of its Prometheus. Raises NotRunning when none is up."""
    url, auth = prometheus_address(state)
    return AlertRules(HttpClient(timeout_s=LIST_TIMEOUT_S), url, auth, timeout_s=LIST_TIMEOUT_S)


def alertmanager_of(state: Path) -> AlertDesk:
    """The Alertmanager of the stack in `state`. Raises NotRunning when none is up."""
    ports, auth = _running(state)
    url = f"http://127.0.0.1:{ports.alertmanager}"
    return AlertDesk(HttpClient(timeout_s=LIST_TIMEOUT_S), [url], auth, timeout_s=LIST_TIMEOUT_S)


def _running(state: Path) -> tuple[Ports, BasicAuth]:
    folder = StateFolder(state)
    info = folder.read()
    if info is None or not info.started:
        raise NotRunning(
            f"the stack in {folder.root}", "is not running", "start it with `opsloop up`"
        )
    auth = BasicAuth(names.SCRAPE_USER, folder.secrets / names.SECRET_SCRAPE_PASSWORD)
    return Ports(info.port_base), auth


def engine_input_of(state: Path) -> EngineInput | None:
    """What the stack's engine reads of the catalog; None when it cannot be read."""
    from opsloop.catalog.facts import EngineInput

    path = StateFolder(state).build / names.ENGINE_JSON
    try:
        return EngineInput.model_validate_json(path.read_bytes())
    except (OSError, ValueError):
        return None
