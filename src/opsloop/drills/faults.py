"""Where a drill's fault goes in this catalog, and how it is switched on and off."""

from __future__ import annotations

import contextlib
import http.client
import json
from dataclasses import dataclass, replace
from typing import Any

from opsloop.catalog.facts import AlertFacts, EngineInput
from opsloop.catalog.model import Backup, Catalog, Certificate
from opsloop.catalog.subject import Subject
from opsloop.drills.kinds import Drill
from opsloop.errors import ArgumentError, SourceError

SWITCH_TIMEOUT_S = 3.0
ERROR_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Aim:
    """What one drill breaks here.

    service, process: who is expected to break, and the process that its instances are;
    switch: the process that has the fault switch, None where a signal breaks it;
    facts: of the alert and the policy that meets it, None when no policy does;
    acts: whether that policy acts by itself; depends: whose repair comes first;
    subject: the certificate or the backup that is broken, else the service.
    """

    drill: Drill
    service: str
    process: str
    switch: str | None
    facts: AlertFacts | None
    acts: bool
    depends: tuple[str, ...]
    subject: Subject


def aim(engine: EngineInput, drill: Drill) -> Aim:
    """Choose by the catalog. Raises ArgumentError when nothing here can be broken this way."""
    catalog = engine.catalog
    if drill.fault in ("certificate", "backup"):
        subject = _declared(catalog, drill)
        service, switch = _service_of(catalog, subject, drill), None
    else:
        service = _switched_service(catalog, drill)
        switch = catalog.services[service].process
        if drill.fault == "kill-dependency":
            service, switch = _dependency(catalog, service, drill), None
        elif drill.fault == "overload":
            switch = _load(catalog, drill)
        elif drill.fault == "fill":
            drill = replace(drill, alert=_cleaned_alert(catalog, service, drill))
        subject = Subject("service", service)
    process = catalog.services[service].process
    if process is None:
        raise _impossible(drill, f"service {service} is no process of this stack")
    policy = catalog.policy_for(drill.alert, subject)
    return Aim(
        drill=drill,
        service=service,
        process=process,
        switch=switch,
        facts=engine.facts_for(drill.alert, policy) if policy else None,
        acts=policy is not None and catalog.remediation.mode_of(policy) == "auto",
        depends=tuple(catalog.services[service].depends_on),
        subject=subject,
    )


def _declared(catalog: Catalog, drill: Drill) -> Subject:
    """The first certificate or backup that has a command, so that a policy could mend it."""
    if drill.fault == "certificate":
        for name, certificate in sorted(catalog.certificates.items()):
            if certificate.renew and certificate.service:
                return Subject("certificate", name)
        raise _impossible(drill, "no certificate has `renew` and `service`")
    for name, backup in sorted(catalog.backups.items()):
        if backup.command and backup.service:
            return Subject("backup", name)
    raise _impossible(drill, "no backup has `command` and `service`")


def _service_of(catalog: Catalog, subject: Subject, drill: Drill) -> str:
    given: Certificate | Backup
    if subject.kind == "certificate":
        given = catalog.certificates[subject.name]
    else:
        given = catalog.backups[subject.name]
    if given.service not in catalog.services:
        raise _impossible(drill, f"{subject} has no service of the catalog")
    return given.service or ""


def _cleaned_alert(catalog: Catalog, service: str, drill: Drill) -> str:
    """The alert of the service that a policy with a `clean` step meets."""
    for policy in catalog.remediation.policies.values():
        if any(step.clean for step in policy.steps):
            for alert in policy.when.alert:
                if alert in catalog.alerts and catalog.alerts[alert].service == service:
                    return alert
    raise _impossible(drill, f"no policy with a clean step meets an alert of {service}")


def _switched_service(catalog: Catalog, drill: Drill) -> str:
    for name in catalog.services:
        process = catalog.process_of(name)
        if process is not None and process.fault_path and process.port:
            return name
    raise _impossible(drill, "no service has a process with `fault_path` and `port`")


def _dependency(catalog: Catalog, service: str, drill: Drill) -> str:
    for name in catalog.services[service].depends_on:
        if name in catalog.services and catalog.services[name].process:
            return name
    raise _impossible(drill, f"service {service} depends on no service with a process")


def _load(catalog: Catalog, drill: Drill) -> str:
    used = {s.process for s in catalog.services.values()}
    for name, process in catalog.processes.items():
        if name not in used and process.fault_path and process.port:
            return name
    raise _impossible(drill, "no process beside the services has `fault_path`: there is no load")


def _impossible(drill: Drill, reason: str) -> ArgumentError:
    return ArgumentError(
        f"drill {drill.name}", f"{reason} in this catalog", "see examples/shop/opsloop.yaml"
    )


def order(drill: Drill) -> dict[str, Any]:
    """What is posted to the fault switch."""
    if drill.fault == "errors":
        return {"kind": "errors", "share": ERROR_SHARE}
    return {"kind": drill.fault}


def post(address: str, path: str, token: str, body: dict[str, Any]) -> None:
    """Switch a fault. Raises SourceError when it was refused or nobody listens.

    A kill is not answered: that the connection breaks is its answer. Never sent twice.
    """
    try:
        status, answer = _call("POST", address, path, token, body)
    except (OSError, http.client.HTTPException) as error:
        if body.get("kind") == "kill" and not isinstance(error, ConnectionRefusedError):
            return
        raise SourceError(
            f"fault switch at {address}{path}", f"does not answer: {error}", "see `opsloop status`"
        ) from error
    if status != 200:
        raise SourceError(f"fault switch at {address}{path}", f"answered HTTP {status}: {answer}")


def active(address: str, path: str, token: str) -> list[Any] | None:
    """The faults that are switched on there; None when it does not answer."""
    with contextlib.suppress(OSError, http.client.HTTPException, ValueError, KeyError):
        status, answer = _call("GET", address, path, token, None, timeout_s=1.0)
        if status == 200:
            found: list[Any] = json.loads(answer)["active"]
            return found
    return None


def read(address: str, path: str, token: str) -> Any:
    """The JSON at a path of a process that takes the fault token; None when it does not answer."""
    with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
        status, answer = _call("GET", address, path, token, None, timeout_s=1.0)
        if status == 200:
            return json.loads(answer)
    return None


def _call(
    method: str,
    address: str,
    path: str,
    token: str,
    body: dict[str, Any] | None,
    timeout_s: float = SWITCH_TIMEOUT_S,
) -> tuple[int, str]:
    host, _, port = address.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=timeout_s)
    try:
        connection.request(
            method,
            path,
            body=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        )
        response = connection.getresponse()
        return response.status, response.read(65536).decode("utf-8", "replace")
    finally:
        connection.close()
