"""The load generator: its rhythm, its balance, its switch."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.shop.parts import SHOP, Shop, call, shop, token, until_ended
from tests.support.wait import wait_until


@pytest.fixture(scope="module")
def load() -> Iterator[ModuleType]:
    """load.py as a module; it finds its neighbours beside it."""
    before = list(sys.path)
    sys.path.insert(0, str(SHOP))
    spec = importlib.util.spec_from_file_location("shop_load", Path(SHOP) / "load.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["shop_load"] = module
    spec.loader.exec_module(module)
    yield module
    sys.path[:] = before
    for name in ("shop_load", "faults"):
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with shop(tmp_path_factory.mktemp("load") / "state") as made:
        made.start_database()
        made.start_api(0)
        made.start_api(1)
        made.start_load(slots=4)
        yield made


def counts(made: Shop) -> dict[str, int]:
    answer = call("GET", f"http://127.0.0.1:{made.load_port}/counts", headers=token())
    found: dict[str, int] = json.loads(answer.data)["customers"]
    return found


def switch(made: Shop, **body: Any) -> list[Any]:
    answer = call("POST", f"http://127.0.0.1:{made.load_port}/faults", body, token())
    assert answer.status == 200, answer.data
    found: list[Any] = json.loads(answer.data)["active"]
    return found


def instances(made: Shop) -> int:
    answer = call("GET", f"http://127.0.0.1:{made.load_port}/healthz")
    return int(json.loads(answer.data)["instances"])


def test_a_day_has_a_night_and_a_noon(load: ModuleType) -> None:
    rates = [load.rate_at(s, None) for s in range(0, 600, 10)]
    assert min(rates) == pytest.approx(12)
    assert max(rates) == pytest.approx(36)
    assert sum(rates) / len(rates) == pytest.approx(24)


def test_an_overload_is_the_same_at_any_hour(load: ModuleType) -> None:
    assert load.rate_at(0, 3.0) == load.rate_at(300, 3.0) == 72


@pytest.mark.parametrize("up", [1, 2, 3])
def test_an_overload_is_too_much_for_what_is_up_and_not_for_one_more(
    load: ModuleType, up: int
) -> None:
    """An instance carries 40 a second (two workers of 50 ms)."""
    rate = load.rate_at(0, load.overload_factor(up))
    assert up * 40 < rate < (up + 1) * 40


def test_customers_are_served_by_every_instance(made: Shop) -> None:
    wait_until(lambda: instances(made) == 2, "both are seen")
    wait_until(lambda: counts(made).get("2xx", 0) > 60, "customers are served")
    for slot in (0, 1):
        served = call("GET", made.url(slot) + "/counts", headers=token())
        assert json.loads(served.data)["codes"]["200"] > 5


def test_a_killed_instance_costs_hardly_a_customer(made: Shop) -> None:
    """Reads that met the dead one are asked again; only an order may break."""
    wait_until(lambda: instances(made) == 2, "both are seen")
    before = counts(made)
    made.running["api-1"].kill()
    until_ended(made.running["api-1"])
    wait_until(lambda: instances(made) == 1, "one is missed")
    sent = counts(made)["sent"]
    wait_until(lambda: counts(made)["sent"] > sent + 40, "the others go on")
    after = counts(made)
    lost = {k: after.get(k, 0) - before.get(k, 0) for k in ("5xx", "no_instance", "too_late")}
    assert lost == {"5xx": 0, "no_instance": 0, "too_late": 0}
    assert after.get("broken", 0) - before.get("broken", 0) <= 2
    made.start_api(1)
    wait_until(lambda: instances(made) == 2, "it is found again")


def test_overload_and_clear(made: Shop) -> None:
    wait_until(lambda: instances(made) == 2, "both are seen")
    active = switch(made, kind="overload")
    assert active == [{"kind": "overload", "factor": 3.75}]
    wait_until(lambda: made.metrics().count('le="0.5"') > 0, "it is measured")
    sent = counts(made)["sent"]
    wait_until(lambda: counts(made)["sent"] > sent + 100, "more load comes", 30)
    assert switch(made, kind="overload", factor=2)[0]["factor"] == 2
    assert switch(made, kind="clear") == []


def test_a_bad_switch_is_refused(made: Shop) -> None:
    url = f"http://127.0.0.1:{made.load_port}/faults"
    assert call("POST", url, {"kind": "kill"}, token()).status == 400
    assert call("POST", url, {"kind": "overload", "factor": 99}, token()).status == 400
    assert call("POST", url, {"kind": "overload"}).status == 401


def test_without_any_instance_it_goes_on(made: Shop) -> None:
    for slot in (0, 1):
        made.running[f"api-{slot}"].kill()
        until_ended(made.running[f"api-{slot}"])
    wait_until(lambda: counts(made).get("no_instance", 0) > 3, "customers find nobody")
    made.start_api(0)
    served = counts(made)["2xx"]
    wait_until(lambda: counts(made)["2xx"] > served + 5, "they are served again")
