"""Files read again on SIGHUP: taken, or refused with the end of the log."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from opsloop.errors import PartFailed
from opsloop.stack import supervisord
from opsloop.stack.parts import Part
from opsloop.stack.reread import read_again
from tests.stack.conftest import SmallStack, answering
from tests.support.wait import wait_until

# Says `ready`, then counts each SIGHUP in a file.
COUNTS = (
    "import signal, sys, time\n"
    "def up(*_): open(sys.argv[1], 'a').write('x')\n"
    "signal.signal(signal.SIGHUP, up); print('ready', flush=True)\n"
    "while True: time.sleep(3600)\n"
)


@pytest.fixture
def hups(small_stack: SmallStack, tmp_path: Path) -> Path:
    script, counted = tmp_path / "counts.py", tmp_path / "hups"
    script.write_text(COUNTS)
    small_stack.write(
        prometheus=f"{sys.executable} {script} {counted}",
        other=f"{sys.executable} {script} {counted}",
    )
    small_stack.start()
    for name in ("prometheus", "other"):
        log = small_stack.state.log(name)
        wait_until(lambda log=log: "ready" in log.read_text(), "it hears signals")  # type: ignore[misc]
    return counted


def metrics(taken: int, at: float) -> str:
    return (
        f"prometheus_config_last_reload_successful {taken}\n"
        f"prometheus_config_last_reload_success_timestamp_seconds {at}\n"
    )


def test_only_the_readers_are_told_and_waited_for(small_stack: SmallStack, hups: Path) -> None:
    def answer(_: str) -> tuple[int, str]:
        return 200, metrics(1, 2.0 if hups.exists() else 1.0)

    with answering(answer) as address:
        parts = [
            Part("prometheus", "prometheus:prometheus", address, "/-/ready"),
            Part("other", "other:other"),
        ]
        driver = supervisord.client(small_stack.state)
        read_again(small_stack.state, parts, driver, ["prometheus"], 30)
    assert hups.read_text() == "x"


def test_a_refusal_is_told_with_the_log(small_stack: SmallStack, hups: Path) -> None:
    def answer(_: str) -> tuple[int, str]:
        return 200, metrics(0 if hups.exists() else 1, 1.0)

    with answering(answer) as address:
        parts = [Part("prometheus", "prometheus:prometheus", address, "/-/ready")]
        driver = supervisord.client(small_stack.state)
        with pytest.raises(
            PartFailed, match=r"refuses its new files; its log ends: ready.*old ones"
        ):
            read_again(small_stack.state, parts, driver, ["prometheus"], 30)
