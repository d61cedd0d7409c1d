"""The bundle: every file that a catalog and options make, by path, with a manifest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from opsloop import __version__, names
from opsloop.catalog.model import Catalog
from opsloop.compile.aftermath import aftermath_rules
from opsloop.compile.alertmanager import alertmanager_yml
from opsloop.compile.alerts import alert_groups, alert_rules
from opsloop.compile.alerttests import test_files
from opsloop.compile.exporters import blackbox_yml
from opsloop.compile.facts import engine_json
from opsloop.compile.grafana_files import grafana_files
from opsloop.compile.messages import MESSAGES_TMPL, messages_tmpl
from opsloop.compile.native import supervisord_conf
from opsloop.compile.options import Options
from opsloop.compile.prometheus import prometheus_yml
from opsloop.compile.routes import routes_yml
from opsloop.compile.rules import record_groups
from opsloop.compile.runbook import RUNBOOK_MD, runbook_md
from opsloop.compile.slo_alerts import slo_alerts
from opsloop.compile.slo_resolve import slo_specs
from opsloop.compile.slo_rules import slo_groups
from opsloop.compile.slo_sloth import sloth_groups
from opsloop.compile.slo_tests import slo_test_files
from opsloop.compile.yamltext import dump

FORMAT = 1
RULES_DIR = "prometheus/rules"
TESTS_DIR = "prometheus/tests"


@dataclass(frozen=True, slots=True)
class Bundle:
    """Path (relative, with /) to text, sorted by path; no secret and no absolute path in it."""

    files: Mapping[str, str]


def compile_catalog(catalog: Catalog, options: Options) -> Bundle:
    """Make the bundle: equal inputs give equal bytes.

    Raises InputError for a catalog that cannot be compiled, BundleError when its services would
    have no alert at all.
    """
    specs = slo_specs(catalog, options)
    objectives = slo_alerts(sorted(specs, key=lambda s: (s.service, s.slo)))
    rules = alert_rules(catalog, options)
    rules += aftermath_rules(catalog, options, rules, specs)
    groups = [*record_groups(catalog), *slo_groups(specs), *alert_groups(catalog, rules)]
    if catalog.stack.slo.sloth_names:
        groups += sloth_groups(specs)
    files = {
        names.PROMETHEUS_YML: prometheus_yml(catalog, options),
        names.ALERTMANAGER_YML: alertmanager_yml(catalog, options, rules, objectives),
        MESSAGES_TMPL: messages_tmpl(),
        names.ROUTES_YML: routes_yml(catalog, options, rules, objectives),
        names.BLACKBOX_YML: blackbox_yml(),
        names.SUPERVISORD_CONF: supervisord_conf(catalog, options),
        names.ENGINE_JSON: engine_json(catalog, options, rules, objectives),
        RUNBOOK_MD: runbook_md(catalog, rules, objectives),
        **grafana_files(catalog, options),
    }
    for group in groups:
        files[f"{RULES_DIR}/{group['name']}.yml"] = dump({"groups": [group]})
    tests = test_files(catalog, rules, [group["name"] for group in groups])
    tests |= slo_test_files(specs, sample=True)
    files |= {f"{TESTS_DIR}/{name}": text for name, text in tests.items()}
    tested = {name.split(".")[0] for name in tests}
    untested = sorted({rule.alert for rule in rules} - tested)
    files[names.MANIFEST_JSON] = _manifest(catalog, options, files, untested)
    return Bundle(dict(sorted(files.items())))


def _manifest(
    catalog: Catalog, options: Options, files: Mapping[str, str], untested: list[str]
) -> str:
    inputs: dict[str, Any] = {
        "catalog": catalog.model_dump(mode="json", by_alias=True),
        "options": asdict(options),
    }
    value = {
        "format": FORMAT,
        "opsloop": __version__,
        "inputs": _sha256(json.dumps(inputs, default=str)),
        "untested": untested,  # alerts of the user's own without a test
        "files": {path: _sha256(text) for path, text in sorted(files.items())},
    }
    return json.dumps(value, indent=1) + "\n"


def _sha256(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
