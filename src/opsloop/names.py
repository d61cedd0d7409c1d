"""Metric, label, alert and path names that more than one module must agree on."""

from __future__ import annotations

from typing import Final

# Labels that every target of a service carries, and that alerts keep.
SERVICE: Final = "service"
TEAM: Final = "team"
TIER: Final = "tier"
ENVIRONMENT: Final = "environment"
INSTANCE: Final = "instance"
SEVERITY: Final = "severity"
POLICY: Final = "policy"  # on an alert: the remediation policy that acts on it
SERVICE_LABELS: Final = (SERVICE, TEAM, TIER, ENVIRONMENT)

SEVERITIES: Final = ("P0", "P1", "P2")

# Recording rules (level:metric:operation), vectorised over services.
REQUEST_RATE: Final = "service:requests:rate1m"
ERROR_RATE: Final = "service:errors:rate1m"
ERROR_RATIO: Final = "service:error_ratio:rate1m"
LATENCY_P50: Final = "service:latency_seconds:p50_rate1m"
LATENCY_P90: Final = "service:latency_seconds:p90_rate1m"
LATENCY_P95: Final = "service:latency_seconds:p95_rate1m"
LATENCY_P99: Final = "service:latency_seconds:p99_rate1m"
SATURATION: Final = "service:saturation:ratio"
INSTANCE_UP: Final = "service:instance_up:value"  # 1 or 0 per (service, instance)
UP_RATIO: Final = "service:up:ratio"  # share of a service's instances that answer

# Alerts of our own that other modules name.
WATCHDOG: Final = "Watchdog"
SERVICE_DOWN: Final = "ServiceDown"
HIGH_ERROR_RATE: Final = "HighErrorRate"
HIGH_LATENCY: Final = "HighLatency"
DISK_FULL: Final = "DiskFull"
MEMORY_HIGH: Final = "MemoryHigh"
DISK_WILL_FILL: Final = "DiskWillFill"
CONNECTIONS_HIGH: Final = "ConnectionsHigh"
PROBE_FAILING: Final = "ProbeFailing"
CERTIFICATE_EXPIRING: Final = "CertificateExpiring"
CERTIFICATE_UNREADABLE: Final = "CertificateUnreadable"
BACKUP_FAILED: Final = "BackupFailed"
BACKUP_STALE: Final = "BackupStale"  # the last success is too old
BACKUP_MISSING: Final = "BackupMissing"  # it never ran where its result is read
MONITORING_DOWN: Final = "MonitoringDown"  # a part of the stack that has no alert of its own
HOST_DOWN: Final = "HostDown"  # its exporter and all services on it are silent
EXPORTER_DOWN: Final = "ExporterDown"  # what tells of a host, a database or a probe
ENGINE_DOWN: Final = "EngineDown"
ENGINE_STUCK: Final = "EngineStuck"
POLICY_STOPPED: Final = "BreakerOpen"  # a policy failed too often in a row
SCRAPE_SLOW: Final = "ScrapeSlow"
SAMPLES_DROPPED: Final = "SamplesDropped"
RULES_FAILING: Final = "RuleEvaluationFailing"
RULES_MISSED: Final = "RuleEvaluationMissed"
NOTIFICATIONS_FAILING: Final = "NotificationsFailing"
TSDB_TROUBLE: Final = "TSDBTrouble"
CONFIG_REJECTED: Final = "ConfigReloadFailed"
CLOCK_SKEW: Final = "ClockSkew"
SLO_BURN_CRITICAL: Final = "SLOBurnRateCritical"
SLO_BURN_HIGH: Final = "SLOBurnRateHigh"
SLO_BUDGET_EXHAUSTED: Final = "SLOBudgetExhausted"
SLO_DATA_MISSING: Final = "SLODataMissing"
SLO_ERRORS_EXCEED: Final = "SLOErrorsExceedTotal"
INCIDENT_AFTERMATH: Final = "IncidentAftermath"  # of what was told: inhibits what it leaves behind
REMEDIATION_FAILED: Final = "RemediationFailed"  # posted by the engine: people take over
REMEDIATION_RUNNING: Final = "RemediationRunning"  # posted by the engine: inhibits its original
APPROVAL_NEEDED: Final = "ApprovalNeeded"
ORIGINAL: Final = "original"  # on the two above: the alert name of the episode
ENGINE_POSTS: Final = (REMEDIATION_FAILED, REMEDIATION_RUNNING, APPROVAL_NEEDED)
# Nobody is told of these: they keep other alerts from people.
ONLY_INHIBITS: Final = (INCIDENT_AFTERMATH, REMEDIATION_RUNNING)
APPROVAL: Final = "approval"  # on ApprovalNeeded: the number that is approved
RUN: Final = "run"
# RemediationFailed and RemediationRunning inhibit the alert with these equal labels.
EPISODE_LABELS: Final = (POLICY, SERVICE, INSTANCE)

# Labels that only some alerts have.
BACKUP: Final = "backup"
CERTIFICATE: Final = "certificate"
BREAKER: Final = "breaker"  # the policy that stopped; `policy` would have the loop act on it
PROBE: Final = "probe"
COVERS: Final = "covers"  # on IncidentAftermath: which kind of alerts it stands before
INTEGRATION: Final = "integration"  # on NotificationsFailing: slack, pagerduty, webhook, email
MOUNTPOINT: Final = "mountpoint"

# Metrics of our own that alerts read; backups by node-exporter, the others by the engine.
BACKUP_SUCCESS: Final = "opsloop_backup_success"
BACKUP_LAST_SUCCESS: Final = "opsloop_backup_last_success_timestamp_seconds"
BREAKER_OPEN: Final = "opsloop_breaker_open"
CERTIFICATE_NOT_AFTER: Final = "opsloop_certificate_not_after_timestamp_seconds"
# Read by dashboards; by the engine, from the store.
RUNS_KEPT: Final = "opsloop_runs_kept"  # how many runs the store has: service, policy, state
LAST_RUN: Final = "opsloop_last_run_timestamp_seconds"  # of these when: service, policy, state
ANNOTATED: Final = "opsloop_annotation_timestamp_seconds"  # `opsloop annotate`: kind, service, text

# Receivers of alertmanager.yml.
RECEIVER_ENGINE: Final = "engine"
RECEIVER_NOBODY: Final = "nobody"

# Files of the bundle, relative to its root.
PROMETHEUS_YML: Final = "prometheus/prometheus.yml"
ALERTMANAGER_YML: Final = "alertmanager/alertmanager.yml"
ROUTES_YML: Final = "alertmanager/routes.yml"
BLACKBOX_YML: Final = "exporters/blackbox.yml"
SUPERVISORD_CONF: Final = "native/supervisord.conf"
ENGINE_JSON: Final = "engine/engine.json"  # resolved catalog and alert facts, read by the engine
GRAFANA_DIR: Final = "grafana"
GRAFANA_INI: Final = "grafana/grafana.ini"
MANIFEST_JSON: Final = "manifest.json"

# Files of the state folder, relative to its root (the bundle lies in `build/`).
BUILD_DIR: Final = "build"
SECRETS_DIR: Final = "secrets"
TARGETS_DIR: Final = "targets"  # file_sd of process-backed services, written by up and the engine
LOGS_DIR: Final = "logs"
TEXTFILE_DIR: Final = "textfile"  # metrics of backups, read by node-exporter
DATA_DIR: Final = "data"
STORE_FILE: Final = "data/engine.sqlite"
INBOX_FILE: Final = "data/inbox.sqlite"

# Secrets (file names under secrets/, mode 0600). Paths in configs are relative: ../../secrets/NAME.
SCRAPE_USER: Final = "opsloop"
SECRET_SCRAPE_PASSWORD: Final = "scrape_password"  # basic auth of every endpoint of the stack
SECRET_WEB_CONFIG: Final = "web.yml"  # exporter-toolkit web config with the bcrypt of the above
SECRET_WEBHOOK_TOKEN: Final = "webhook_token"  # bearer token of the engine's intake
SECRET_FAULT_TOKEN: Final = "fault_token"  # bearer token of the shop's fault switches
SECRET_DATABASE_PASSWORD: Final = "database_password"
SECRET_SLACK_URL: Final = "slack_url"
SECRET_PAGERDUTY_KEY: Final = "pagerduty_key"
SECRET_GRAFANA_PASSWORD: Final = "grafana_password"
SECRET_GRAFANA_KEY: Final = "grafana_secret_key"  # Grafana encrypts with it what it stores
