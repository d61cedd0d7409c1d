"""The catalog's own runbook, RUNBOOK.md of the bundle: a section for each alert of each service.

It is where a team writes down what only they know; until then it says what the rules know.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from opsloop import names
from opsloop.catalog.model import Catalog
from opsloop.compile.alertrule import OWN, AlertRule
from opsloop.compile.prometheus import OWN_TEAM, labels_of, service_labels
from opsloop.compile.slo_alerts import SLOAlert
from opsloop.compile.wording import Wording

RUNBOOK_MD = "RUNBOOK.md"
_HEAD = """\
# Runbook of this catalog

Written by `opsloop build`: one section for each alert and what it is about. What is in <> is told
by the alert itself. Copy what you need into a runbook of your own and name that in the catalog, as
`runbook:` of a service or as `stack.runbook_url`. The alerts' meaning in full stands in opsloop's
RUNBOOK.md.
"""


def runbook_md(
    catalog: Catalog, rules: Iterable[AlertRule], objectives: Iterable[SLOAlert] = ()
) -> str:
    """The whole file, sorted by alert and subject; of alerts that nobody is told of there is none."""
    sections: dict[tuple[str, str], str] = {}
    for rule in rules:
        if rule.alert in names.ONLY_INHIBITS:
            continue
        for name, labels in _subjects(catalog, rule):
            said = _section(rule.alert, name, rule.severity, rule.annotations, labels)
            sections[rule.alert, name] = said
    for alert in objectives:
        annotations = alert.annotations  # made for all of its objectives at once
        for member in alert.members:
            labels = alert.labels_for(member)
            name = f"{member.service} {member.slo}"
            said = _section(alert.alert, name, alert.severity, annotations, labels)
            sections[alert.alert, name] = said
    return "\n".join([_HEAD, *(text for _, text in sorted(sections.items()))])


def _subjects(catalog: Catalog, rule: AlertRule) -> Iterator[tuple[str, Mapping[str, str]]]:
    if rule.about == "declared" or rule.shape == OWN or not rule.subjects:
        name = rule.part.replace(".", " ") or rule.labels.get(names.SERVICE, "")
        yield name, rule.labels
        return
    for subject in rule.subjects:
        if rule.about == "host":
            yield subject, labels_of(catalog, subject, catalog.hosts[subject].team)
        elif rule.about == "service" and subject in catalog.services:
            yield subject, service_labels(catalog, subject)
        else:
            yield subject, labels_of(catalog, subject, OWN_TEAM)


def _section(
    alert: str,
    name: str,
    severity: str,
    said: Mapping[str, Wording],
    labels: Mapping[str, str],
) -> str:
    def text(annotation: str) -> str:
        found = said.get(annotation)
        return found.in_general(labels) if found else ""

    title = f"{alert}: {name}" if name else alert
    owner = labels.get(names.TEAM)
    facts = [f"Severity {severity}." if severity else "", f"Team {owner}." if owner else ""]
    lines = [
        f"## {title}",
        f"**Meaning.** {text('description') or text('summary')} {' '.join(f for f in facts if f)}",
        f"**Impact.** {text('impact')}" if text("impact") else "",
        f"**First steps.**\n{text('first_steps')}",
        f"**The loop.** {text('remediation')}",
        f"**More.** {text('runbook')}",
    ]
    return "\n\n".join(x.rstrip() for x in lines if x) + "\n"
