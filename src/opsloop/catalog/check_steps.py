"""Rules over the steps of policies: whether each can act on what its policy meets, and safely."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path as FilePath
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from opsloop.catalog.fieldpath import Path
from opsloop.catalog.findings import Scope
from opsloop.catalog.model import Catalog
from opsloop.catalog.policy import Policy
from opsloop.catalog.steps import (
    OF_INSTANCES,
    Clean,
    Playbook,
    Script,
    Step,
    Undo,
    WebhookCall,
)
from opsloop.catalog.subject import Subject
from opsloop.catalog.units import Duration

YOUNGEST: Final = Duration(300_000)  # a file that is written now must never be called old
_PLACEHOLDER: Final = re.compile(r"\{([a-z_]+)(?::([^{}]*))?\}")
_WORDS: Final = ("python", "state", "catalog_dir")
_SECRET: Final = re.compile(
    r"(^|[_-])(pass(word|wd|phrase)?|pwd|secret|token|credentials?|private|api_?key|auth)($|[_-])",
    re.IGNORECASE,
)
_SECRET_OPTION: Final = re.compile(
    r"^--?[A-Za-z-]*(password|passwd|secret|token|api-?key)[A-Za-z-]*(=(.+))?$", re.IGNORECASE
)
_SYSTEM: Final = ("bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "proc", "root", "run",
                  "sbin", "sys", "usr")  # fmt: skip
_FLAT: Final = ("home", "mnt", "media", "opt", "srv", "tmp", "var")  # only what is below these


def steps(scope: Scope, path: Path, policy: Policy, subjects: Sequence[Subject]) -> None:
    """Each step is sound in itself, and can act on each subject that the policy acts on."""
    for i, step in enumerate(policy.steps):
        at = (*path, "steps", i)
        _sound(scope, at, step)
        for subject in subjects:
            reason = _cannot(scope.catalog, step, subject)
            if not reason:
                continue
            hint = ""
            if not policy.when.names(subject.kind):
                hint = f"name the {subject.kind}s that it is for in when.{subject.kind}"
            scope.error(
                (*at, step.kind), f"cannot act on {subject}: {reason}", hint,
                reads=_read_of(scope.catalog, subject),
            )  # fmt: skip


def files(scope: Scope, directory: FilePath) -> None:
    """Scripts and playbooks of policies that may act are there, and can be run."""
    for at, given in _programs(scope.catalog):
        text, runs = given
        if "{" in text or ("/" not in text and runs):
            continue  # an installed program: looked for on PATH when it is run
        file = directory / text
        if not file.is_file():
            scope.error(at, f"there is no file {text!r}", "paths begin at the catalog's folder")
        elif runs and not os.access(file, os.X_OK):
            scope.error(at, f"{text!r} is not executable", f"chmod +x {text}")


def _programs(catalog: Catalog) -> Iterator[tuple[Path, tuple[str, bool]]]:
    """(place, (file, whether it is run itself)) of all commands."""
    for name, policy in catalog.remediation.policies.items():
        for i, step in enumerate(policy.steps):
            at: Path = ("remediation", "policies", name, "steps", i)
            for where, one in ((at, step), ((*at, "undo"), step.undo)):
                if one is None:
                    continue
                if one.script is not None:
                    yield (*where, "script", "command", 0), (one.script.command[0], True)
                if one.playbook is not None:
                    yield (*where, "playbook", "path"), (one.playbook.path, False)
    for name, certificate in catalog.certificates.items():
        if certificate.renew:
            yield ("certificates", name, "renew", 0), (certificate.renew[0], True)
    for name, backup in catalog.backups.items():
        if backup.command:
            yield ("backups", name, "command", 0), (backup.command[0], True)


def command(scope: Scope, at: Path, argv: Sequence[str]) -> None:
    """A command's words: no line breaks, known placeholders, no secret in it."""
    for i, text in enumerate(argv):
        _words(scope, (*at, i), text)
        option = _SECRET_OPTION.match(text)
        if option and (option.group(3) or i + 1 < len(argv)):
            value = option.group(3) or argv[i + 1]
            if not value.startswith(("{", "/", "./", "@", "-")):
                _refuse_secret(scope, (*at, i), f"{option.group(0).partition('=')[0]} has a value")


def _sound(scope: Scope, at: Path, step: Step) -> None:
    if step.timeout == 0:
        scope.error((*at, "timeout"), "must be longer than 0")
    elif step.restart is not None and step.restart.stop_wait >= step.timeout:
        scope.error(
            (*at, "restart", "stop_wait"),
            f"{step.restart.stop_wait} is not shorter than the step's timeout, {step.timeout}",
            reads=[(*at, "timeout")],
        )
    if step.wait is not None and step.wait.for_ == 0:
        scope.error((*at, "wait", "for"), "must be longer than 0")
    if step.clean is not None:
        _clean(scope, (*at, "clean"), step.clean)
    _outside(scope, at, step)
    for side in ("before", "after"):
        for i, condition in enumerate(getattr(step, side)):
            if condition.probe is not None:
                _words(scope, (*at, side, i, "probe"), condition.probe)
    if step.undo is None:
        return
    _outside(scope, (*at, "undo"), step.undo)
    if step.undo.timeout == 0:
        scope.error((*at, "undo", "timeout"), "must be longer than 0")
    if step.undo.scale_in is not None and step.scale_out is None:
        scope.error(
            (*at, "undo", "scale_in"), "takes back nothing but a scale_out",
            reads=[(*at, step.kind)],
        )  # fmt: skip
    if step.idempotent:
        scope.error(
            (*at, "idempotent"), "what can make it worse is not to be done twice",
            "remove it, or undo", reads=[(*at, "undo")],
        )  # fmt: skip


def _outside(scope: Scope, at: Path, step: Step | Undo) -> None:
    """What leaves our own code: scripts, playbooks, webhooks."""
    if step.script is not None:
        _script(scope, (*at, "script"), step.script)
    if step.playbook is not None:
        _playbook(scope, (*at, "playbook"), step.playbook)
    if step.webhook is not None:
        _webhook(scope, (*at, "webhook"), step.webhook)


def _script(scope: Scope, at: Path, script: Script) -> None:
    command(scope, (*at, "command"), script.command)
    _variables(scope, (*at, "environment"), script.environment)


def _playbook(scope: Scope, at: Path, playbook: Playbook) -> None:
    _words(scope, (*at, "path"), playbook.path)
    _variables(scope, (*at, "variables"), playbook.variables)


def _variables(scope: Scope, at: Path, given: dict[str, str]) -> None:
    for name, value in given.items():
        _words(scope, (*at, name), value)
        if name.upper().startswith("OPSLOOP_"):
            scope.error((*at, name), "OPSLOOP_ names are the loop's own", "choose another name")
        is_file = name.lower().endswith(("_file", "_path", "passfile")) or value.startswith(
            ("/", "{state}", "{catalog_dir}")
        )
        if value and _SECRET.search(name) and not is_file:
            _refuse_secret(scope, (*at, name), f"{name} has a value")


def _webhook(scope: Scope, at: Path, webhook: WebhookCall) -> None:
    where = (*at, "url")
    _words(scope, where, webhook.url)
    try:
        parts = urlsplit(_PLACEHOLDER.sub("1", webhook.url))
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fine = False
    if not fine or re.search(r"\s", webhook.url):
        scope.error(where, f"{webhook.url!r} is no web address", "write it with https://")
        return
    if parts.username or parts.password:
        _refuse_secret(scope, where, "it has a user or a password in it")
    elif any(_SECRET.search(k) or k == "key" for k, _ in parse_qsl(parts.query)):
        _refuse_secret(scope, where, "it has a secret in it")
    if parts.scheme == "http" and parts.hostname not in ("127.0.0.1", "::1", "localhost"):
        scope.warning(where, "is not encrypted on its way", "write https://")
        if webhook.token_file:
            scope.error(where, "would send its token unencrypted", "write https://")


def _clean(scope: Scope, at: Path, clean: Clean) -> None:
    for i, rule in enumerate(clean.rules):
        where = (*at, "rules", i)
        _words(scope, (*where, "folder"), rule.folder)
        reason = _unsafe(rule.folder)
        if reason:
            scope.error((*where, "folder"), f"{rule.folder!r} {reason}", "name a folder of its own")
        if "/" in rule.pattern:
            scope.error(
                (*where, "pattern"), "is for the file's name, not for its path", "write *.log.gz"
            )
        if rule.older_than < YOUNGEST:
            scope.error((*where, "older_than"), f"must be at least {YOUNGEST}", "write 7d")


def _unsafe(folder: str) -> str:
    """Why nothing may be deleted below a folder; empty when it may."""
    if folder.startswith(("{state}/", "{catalog_dir}/")):
        return "leaves its folder" if ".." in folder.split("/") else ""
    if not folder.startswith("/"):
        return "is not absolute"
    parts = [p for p in folder.split("/") if p not in ("", ".")]
    if ".." in parts:
        return "goes up with .."
    if not parts or parts[0] in _SYSTEM:
        return "belongs to the system"
    if len(parts) == 1 and parts[0] in _FLAT:
        return "is shared by everything"
    return ""


def _words(scope: Scope, at: Path, text: str) -> None:
    if any(c in text for c in "\n\r\0"):
        scope.error(at, "has a line break in it")
    for match in _PLACEHOLDER.finditer(text):
        word, argument = match.groups()
        if word == "port" and argument:
            process = scope.catalog.processes.get(argument)
            if scope.refer(at, "processes", argument, "process") and (
                process is not None and process.port is None
            ):
                scope.error(at, f"process {argument!r} has no port")
        elif word not in _WORDS or argument is not None:
            scope.error(
                at, f"there is no word {match.group()}",
                "there are {python}, {state}, {catalog_dir} and {port:NAME}",
            )  # fmt: skip


def _refuse_secret(scope: Scope, at: Path, message: str) -> None:
    scope.error(at, f"{message}: a catalog holds no secrets", "name a file that holds it")


def _cannot(catalog: Catalog, step: Step, subject: Subject) -> str:
    """Why a step can do nothing about a subject; empty when it can."""
    if step.kind == "renew":
        certificate = catalog.certificates.get(subject.name)
        if subject.kind != "certificate" or certificate is None:
            return "it is no certificate in a file"
        return "" if certificate.renew else "it has no renew: command"
    if step.kind == "backup":
        backup = catalog.backups.get(subject.name)
        if subject.kind != "backup" or backup is None:
            return "it is no backup"
        return "" if backup.command else "it has no command:"
    if step.kind == "clean" and subject.kind == "host":
        targets = catalog.hosts[subject.name].targets
        if targets.static or targets.files:
            return "it is another machine, and files are deleted only on this one"
    if step.touches == "nothing":
        return ""
    if subject.kind != "service":
        return "it has no instances"
    return _cannot_touch(catalog, step, subject.name)


def _cannot_touch(catalog: Catalog, step: Step, service: str) -> str:
    known = (catalog.services[service].process or "") in catalog.processes
    process = catalog.process_of(service) if known else None
    if process is None:
        return "it has no process"
    if step.kind not in OF_INSTANCES or step.restart is not None:
        return ""
    instances, most = catalog.services[service].instances, catalog.max_instances(service) or 1
    if most <= 1:
        return "its process has one slot" if process.slots == 1 else "instances.max is 1"
    if step.scale_out is not None and instances.wanted >= most:
        return f"all {most} of its instances run already"
    if step.scale_in is not None and instances.wanted <= instances.min:
        return f"no fewer than the {instances.wanted} that run are allowed"
    return ""


def radius(scope: Scope, path: Path, policy: Policy, subjects: Sequence[Subject]) -> None:
    """A step that takes a whole service out needs max_share 100%, or it is always refused."""
    if math.isclose(float(policy.limits.max_share), 1.0):
        return
    for i, step in enumerate(policy.steps):
        whole = step.kind not in OF_INSTANCES and step.touches == "service"
        many = [
            s.name
            for s in subjects
            if s.kind == "service" and scope.catalog.services[s.name].instances.wanted > 1
        ]
        if whole and many:
            scope.error(
                (*path, "steps", i, step.kind, "touches"),
                f"takes all instances of {many[0]!r} at once, and max_share is"
                f" {policy.limits.max_share}: it is always refused",
                "write limits: {max_share: 100%}, or touches: instance",
                reads=[(*path, "limits", "max_share")],
            )


def _read_of(catalog: Catalog, subject: Subject) -> list[Path]:
    if subject.kind != "service":
        return [(f"{subject.kind}s", subject.name)]
    process = catalog.services[subject.name].process
    return [("services", subject.name), ("processes", process or "")]
