"""What Grafana reads at its start: dashboards, data sources, providers, and its settings.

Paths in these files are relative to build/grafana, which is where Grafana is started.
"""

from __future__ import annotations

import hashlib
from typing import Final

from opsloop import names
from opsloop.catalog.model import Catalog
from opsloop.compile import places, texts
from opsloop.compile.dashboard_parts import OVERVIEW
from opsloop.compile.dashboards import dashboards_of
from opsloop.compile.grafana import PROMETHEUS_UID, dashboard_json
from opsloop.compile.options import Options
from opsloop.compile.yamltext import dump

DASHBOARDS: Final = f"{names.GRAFANA_DIR}/dashboards"
PROVISIONING: Final = f"{names.GRAFANA_DIR}/provisioning"
LINT: Final = f"{DASHBOARDS}/.lint"
FOLDER: Final = "opsloop"
FOUND_EVERY_S: Final = 10  # how often Grafana looks for changed dashboards
ALERTMANAGER_UID: Final = "opsloop-alertmanager"
_SECRETS: Final = f"../../{names.SECRETS_DIR}"


def grafana_files(catalog: Catalog, options: Options) -> dict[str, str]:
    """Path in the bundle to text."""
    console = texts.console(catalog, options)
    files = {
        f"{DASHBOARDS}/{d.uid}.json": dashboard_json(d, console) for d in dashboards_of(catalog)
    }
    files[LINT] = _lint()
    files[f"{PROVISIONING}/datasources/opsloop.yml"] = _datasources(catalog, options)
    files[f"{PROVISIONING}/dashboards/opsloop.yml"] = _providers()
    files[names.GRAFANA_INI] = _settings(catalog, options)
    return files


def read_at_start(catalog: Catalog, options: Options) -> str:
    """A digest of the settings that Grafana reads when it starts, and not again."""
    text = _datasources(catalog, options) + _providers() + _settings(catalog, options)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _datasources(catalog: Catalog, options: Options) -> str:
    """Prometheus and Alertmanager, with fixed uids; nobody edits them in Grafana."""
    bind, ports = catalog.stack.bind, options.ports
    shared = {
        "orgId": 1,
        "access": "proxy",
        "editable": False,
        "basicAuth": True,
        "basicAuthUser": names.SCRAPE_USER,
        "secureJsonData": {
            "basicAuthPassword": f"$__file{{{_SECRETS}/{names.SECRET_SCRAPE_PASSWORD}}}"
        },
    }
    return dump(
        {
            "apiVersion": 1,
            "prune": True,
            "datasources": [
                {
                    "name": "Prometheus",
                    "uid": PROMETHEUS_UID,
                    "type": "prometheus",
                    "isDefault": True,
                    "url": f"http://{places.address(bind, ports.prometheus)}",
                    **shared,
                    "jsonData": {
                        "httpMethod": "POST",
                        # What $__rate_interval is made of.
                        "timeInterval": str(catalog.stack.scrape_interval),
                        "manageAlerts": False,
                        "prometheusType": "Prometheus",
                        "prometheusVersion": "2.40.0",
                    },
                },
                {
                    "name": "Alertmanager",
                    "uid": ALERTMANAGER_UID,
                    "type": "alertmanager",
                    "url": f"http://{places.address(bind, ports.alertmanager)}",
                    **shared,
                    "jsonData": {
                        "implementation": "prometheus",
                        "handleGrafanaManagedAlerts": False,
                    },
                },
            ],
        }
    )


def _providers() -> str:
    """Dashboards from files, in a folder of their own, not to be changed or deleted."""
    return dump(
        {
            "apiVersion": 1,
            "providers": [
                {
                    "name": "opsloop",
                    "orgId": 1,
                    "folder": FOLDER,
                    "folderUid": FOLDER,
                    "type": "file",
                    "disableDeletion": True,
                    "allowUiUpdates": False,
                    "updateIntervalSeconds": FOUND_EVERY_S,
                    "options": {"path": "dashboards", "foldersFromFilesStructure": False},
                }
            ],
        }
    )


def _settings(catalog: Catalog, options: Options) -> str:
    """grafana.ini of the native runtime; OPSLOOP_STATE is in its environment."""
    state = "${OPSLOOP_STATE}"
    bind, port = catalog.stack.bind, options.ports.grafana
    sections: dict[str, dict[str, object]] = {
        "paths": {
            "data": f"{state}/{names.DATA_DIR}/grafana",
            "logs": f"{state}/{names.LOGS_DIR}",
            "plugins": f"{state}/{names.DATA_DIR}/grafana/plugins",
            "provisioning": f"{state}/{names.BUILD_DIR}/{PROVISIONING}",
        },
        "server": {
            "http_addr": bind,
            "http_port": port,
            "root_url": f"http://{places.address(bind, port)}/",
        },
        "security": {
            "admin_user": "admin",
            "admin_password": f"$__file{{{_SECRETS}/{names.SECRET_GRAFANA_PASSWORD}}}",
            "secret_key": f"$__file{{{_SECRETS}/{names.SECRET_GRAFANA_KEY}}}",
            "allow_embedding": False,
            "cookie_samesite": "lax",
            "disable_gravatar": True,
        },
        "users": {"allow_sign_up": False},
        "auth.anonymous": {"enabled": False},
        "metrics": {
            "basic_auth_username": names.SCRAPE_USER,
            "basic_auth_password": f"$__file{{{_SECRETS}/{names.SECRET_SCRAPE_PASSWORD}}}",
        },
        "log": {"mode": "console"},
        # Prometheus evaluates the alerts, and Alertmanager tells of them.
        "unified_alerting": {"enabled": False},
        "snapshots": {"external_enabled": False},
        "plugins": {"preinstall_disabled": True},
        "news": {"news_feed_enabled": False},
        "analytics": {
            "reporting_enabled": False,
            "check_for_updates": False,
            "check_for_plugin_updates": False,
            "feedback_links_enabled": False,
        },
        "dashboards": {"default_home_dashboard_path": f"dashboards/{OVERVIEW}.json"},
    }
    lines = ["; Written by opsloop build; relative paths begin at build/grafana."]
    for section, values in sections.items():
        lines += ["", f"[{section}]", *(f"{key} = {_ini(v)}" for key, v in values.items())]
    return "\n".join(lines) + "\n"


def _ini(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _lint() -> str:
    """For grafana/dashboard-linter: what it asks for and recorded series have not."""
    recorded = "recorded series are summed over jobs and instances; raw ones have the matcher"
    none = "a dashboard of recorded series or of one engine has nothing to choose"
    reasons = {
        "target-job-rule": recorded,
        "target-instance-rule": recorded,
        "template-job-rule": none,
        "template-instance-rule": none,
    }
    return dump({"exclusions": {rule: {"reason": why} for rule, why in reasons.items()}})
