"""A process that takes alerts and acts until it is killed, saying what was durable.

`python -m tests.store.crasher FILE FIRST`: each line is flushed after the call returned:
`taken FINGERPRINT`, `begun RUN` and `ended RUN`.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

from opsloop.remediation.plan import RunState
from opsloop.remediation.ports import StepResult
from opsloop.store.sqlite import SqliteStore
from tests.store.samples import act, alert, plan

_lock = threading.Lock()


def say(line: str) -> None:
    with _lock:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def take(store: SqliteStore, first: int, lane: int) -> None:
    number = 0
    while True:
        name = f"r{first}l{lane}n{number}"
        store.intake([alert(name), alert(f"{name}b")], time.time())
        say(f"taken {name}")
        say(f"taken {name}b")
        number += 1


def work(store: SqliteStore) -> None:
    while True:
        now = time.time()
        for episode in store.due(now, 1):
            run = store.record(act(episode, plan("api:api-0")), now)
            if run is None:
                continue
            store.begin_action(run, 0, now)
            say(f"begun {run.id}")
            store.end_action(run, 0, StepResult(True, True, "done"), now)
            say(f"ended {run.id}")
            store.move_run(run, RunState.FAILED, "enough", now)


def main() -> None:
    store = SqliteStore(Path(sys.argv[1]))
    first = int(sys.argv[2])
    for run in store.open_runs():
        if store.actions(run.id):
            store.move_run(run, RunState.UNKNOWN, "the process was killed", time.time())
        store.move_run(run, RunState.FAILED, "the process was killed", time.time())
    say("ready")
    for lane in range(3):
        threading.Thread(target=take, args=(store, first, lane), daemon=True).start()
    work(store)


if __name__ == "__main__":
    main()
