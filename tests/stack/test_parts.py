"""The parts of a stack, from the supervisord.conf that compile makes."""

from __future__ import annotations

from opsloop import names
from opsloop.catalog.model import Catalog
from opsloop.compile.bundle import compile_catalog
from opsloop.compile.options import Options
from opsloop.settings import Ports
from opsloop.stack.parts import parts, programs, wanted_slots

CATALOG = Catalog.model_validate(
    {
        "apiVersion": "opsloop/v1",
        "processes": {
            "api": {"command": ["x"], "slots": 3, "port": 8000, "health": "/healthz"},
            "db-one": {"command": ["x"], "port": 5433},
            "job": {"command": ["x"], "slots": 2},
        },
        "services": {
            "api": {"team": "a", "process": "api", "instances": {"wanted": 2}},
            "db": {"team": "a", "process": "db-one", "postgres": {"port": 5433}},
        },
    }
)
OPTIONS = Options(ports=Ports(100))
CONF = compile_catalog(CATALOG, OPTIONS).files[names.SUPERVISORD_CONF]


def test_every_program_has_its_target() -> None:
    found = programs(CONF)
    assert found["prometheus"] == "prometheus:prometheus"
    assert found["api-2"] == "api:api-2"
    assert found["db-one-0"] == "db-one:db-one-0"


def test_addresses_and_health() -> None:
    slots = wanted_slots(CATALOG, {"api": 2, "db": 1})
    found = {p.name: p for p in parts(CATALOG, OPTIONS, CONF, slots)}
    assert set(found) == set(programs(CONF))
    assert found["prometheus"].url == "http://127.0.0.1:9190/-/ready"
    assert found["prometheus"].protected
    assert found["engine"].url == "http://127.0.0.1:8181/healthz"
    assert not found["engine"].protected
    assert found["postgres-exporter"].kind == "postgres"
    assert found["api-1"].url == "http://127.0.0.1:8101/healthz"
    assert not found["api-1"].protected  # the password of the stack is not for others
    assert (found["api-1"].wanted, found["api-2"].wanted) == (True, False)
    assert (found["db-one-0"].address, found["db-one-0"].url) == ("127.0.0.1:5533", "")
    assert (found["job-1"].address, found["job-1"].wanted) == ("", True)


def test_wanted_slots() -> None:
    assert wanted_slots(CATALOG, {"api": 2}) == {"api": 2, "db-one": 1, "job": 2}
    assert wanted_slots(CATALOG, {"api": 9})["api"] == 3
