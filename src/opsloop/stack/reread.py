"""Programs that read changed files again on SIGHUP, and the proof that they took them."""

from __future__ import annotations

import time
from collections.abc import Sequence

from opsloop.drivers.supervisor import Supervisor
from opsloop.errors import PartFailed
from opsloop.stack import supervisord
from opsloop.stack.parts import Part
from opsloop.stack.ready import Http
from opsloop.stack.secrets import scrape_password
from opsloop.stack.state import StateFolder

_POLL_S = 0.1
# Prometheus, Alertmanager and blackbox-exporter each say so under their own prefix.
_TAKEN = "config_last_reload_successful"
_TAKEN_AT = "config_last_reload_success_timestamp_seconds"
_TELLS = ("prometheus", "alertmanager", "blackbox-exporter")


def read_again(
    state: StateFolder,
    parts: Sequence[Part],
    driver: Supervisor,
    readers: Sequence[str],
    deadline_s: float,
) -> None:
    """Send SIGHUP to each of `readers` and wait until those that can tell have taken it.

    Raises PartFailed with the end of the log of one that refused its new files; it goes on
    with the old ones.
    """
    found = {p.name: p for p in parts if p.name in readers}
    http = Http(scrape_password(state.secrets))
    try:
        before = {name: _reading(http, part)[1] for name, part in found.items() if name in _TELLS}
        for part in found.values():
            driver.signal(part.target, "HUP")
        deadline = time.monotonic() + deadline_s
        for name, taken_at in before.items():
            _wait_taken(state, http, found[name], taken_at, deadline)
    finally:
        http.close()


def _wait_taken(state: StateFolder, http: Http, part: Part, before: float, deadline: float) -> None:
    while True:
        taken, at = _reading(http, part)
        if taken and at > before:
            return
        if not taken or time.monotonic() > deadline:
            reason = "refuses its new files" if not taken else "has not read its new files"
            log = state.log(part.name)
            raise PartFailed(
                part.name,
                f"{reason}; its log ends: {supervisord.tail(log, 2)}",
                f"it goes on with the old ones; read {log}",
            )
        time.sleep(_POLL_S)


def _reading(http: Http, part: Part) -> tuple[bool, float]:
    """(the last reload succeeded, unix time of the last success); (True, 0) while unknown."""
    try:
        _, text = http.get(f"http://{part.address}/metrics", protected=True)
    except OSError:
        return True, 0.0
    taken, at = True, 0.0
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        if name.endswith(_TAKEN):
            taken = float(value) == 1
        elif name.endswith(_TAKEN_AT):
            at = float(value)
    return taken, at
