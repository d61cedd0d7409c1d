"""What holds for every test: none reads the settings that a person has for a stack of their own."""

from __future__ import annotations

import os
import signal

import pytest

_PERSONAL = (
    "PROMETHEUS_RETENTION",
    "ALERTMANAGER_SLACK_WEBHOOK",
    "PAGERDUTY_INTEGRATION_KEY",
    "GRAFANA_ADMIN_PASSWORD",
    # What `make test` was called with is not for the makes that a test calls.
    *("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "ARGS", "CATALOG", "NAME", "ALL"),
)


# A shell without job control starts what is in its background with these ignored, and what a test
# starts would inherit that.
for _ignored in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(_ignored) is signal.SIG_IGN:
        signal.signal(
            _ignored,
            signal.default_int_handler if _ignored == signal.SIGINT else signal.SIG_DFL,
        )


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("OPSLOOP_") or name in _PERSONAL:
            monkeypatch.delenv(name)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1,localhost")
