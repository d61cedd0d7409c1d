"""Steps of a policy: what each kind of action is told, and what it declares about itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from opsloop.catalog.units import Duration

Text = Annotated[str, StringConstraints(min_length=1, max_length=2000)]
Argv = Annotated[list[Text], Field(min_length=1, max_length=64)]
Variable = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")]
Touches = Literal["nothing", "instance", "service"]
"""What cannot serve while a step works: nothing of the service, the alert's instance, or all of
its instances. The blast radius counts it."""


class StepModel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Restart(StepModel):
    """Restart what is broken: the alert's instance, or the service's instances one by one."""

    scope: Literal["instance", "service"] = "instance"
    stop_wait: Duration = Duration(0)  # SIGTERM, this long, then SIGKILL; 0: SIGKILL at once


class ScaleOut(StepModel):
    by: Annotated[int, Field(ge=1, le=16)] = 1


class ScaleIn(StepModel):
    by: Annotated[int, Field(ge=1, le=16)] = 1


class Script(StepModel):
    """Run a command: no shell. The words {python}, {state}, {catalog_dir} and {port:NAME} are
    replaced; a path begins at the catalog's folder. What of the alert it may know comes as
    environment (OPSLOOP_ALERT, ...) and as JSON on its stdin. Exit status 0 is success."""

    command: Argv
    environment: dict[Variable, str] = {}
    touches: Touches = "nothing"


class Playbook(StepModel):
    """Run an ansible playbook (extra `ansible`), with variables as text."""

    path: Text
    variables: dict[Variable, str] = {}
    touches: Touches = "nothing"


class WebhookCall(StepModel):
    """POST what of the alert may be told, as JSON. 2xx is success."""

    url: Text
    token_file: Text | None = None  # bearer token; relative to the catalog's folder
    ca_file: Text | None = None  # PEM; unset: the authorities that this machine trusts
    touches: Touches = "nothing"


class CleanRule(StepModel):
    """Files that may be deleted: all of these must hold. Links are never followed."""

    folder: Text
    pattern: Text  # a shell's, of the file's name: *.log.gz
    older_than: Duration
    keep: Annotated[int, Field(ge=0, le=10_000)] = 3  # the newest ones, however old


class Clean(StepModel):
    """Delete old files by declared rules."""

    rules: Annotated[list[CleanRule], Field(min_length=1, max_length=20)]


class Renew(StepModel):
    """Run the `renew` command of the alert's certificate."""


class RunBackup(StepModel):
    """Run the `command` of the alert's backup again, through `opsloop backup-run`."""


class Wait(StepModel):
    """Wait and see: nothing is done, and the alert has this long to end by itself."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    for_: Duration = Field(alias="for")


class Condition(StepModel):
    """What has to hold: a PromQL query that returns a series, or an address that serves."""

    query: Text | None = None
    probe: Annotated[str, StringConstraints(pattern=r"^[^/\s]+:[^/\s]+(/\S*)?$")] | None = None
    within: Duration = Duration(0)  # how long it is waited for

    @model_validator(mode="after")
    def _one(self) -> Condition:
        if (self.query is None) == (self.probe is None):
            raise ValueError("a condition is either query or probe")
        return self


UNDO_KINDS = ("script", "playbook", "webhook", "scale_in")


class Undo(StepModel):
    """How a step is taken back when `worse` (PromQL) returns a series on samples newer than it."""

    worse: Text
    script: Script | None = None
    playbook: Playbook | None = None
    webhook: WebhookCall | None = None
    scale_in: ScaleIn | None = None
    timeout: Duration = Duration(60_000)

    @property
    def kind(self) -> str:
        return next(k for k in UNDO_KINDS if getattr(self, k) is not None)

    @model_validator(mode="after")
    def _one_kind(self) -> Undo:
        if sum(getattr(self, k) is not None for k in UNDO_KINDS) != 1:
            raise ValueError(f"an undo has exactly one of {', '.join(UNDO_KINDS)}")
        return self


OF_INSTANCES = ("restart", "scale_out", "scale_in")
STEP_KINDS = (
    *OF_INSTANCES, "script", "playbook", "webhook", "clean", "renew", "backup", "wait"
)  # fmt: skip
BARE = (*OF_INSTANCES, "renew", "backup")  # that need nothing said of them
ONCE = ("script", "playbook", "webhook")  # what they do twice, only their author knows


class Step(StepModel):
    """One rung of the ladder: exactly one kind of action."""

    restart: Restart | None = None
    scale_out: ScaleOut | None = None
    scale_in: ScaleIn | None = None
    script: Script | None = None
    playbook: Playbook | None = None
    webhook: WebhookCall | None = None
    clean: Clean | None = None
    renew: Renew | None = None
    backup: RunBackup | None = None
    wait: Wait | None = None
    timeout: Duration = Duration(60_000)  # of each action of the step
    idempotent: bool | None = None  # unset: no for script, playbook, webhook; else yes
    before: Annotated[list[Condition], Field(max_length=10)] = []
    after: Annotated[list[Condition], Field(max_length=10)] = []
    undo: Undo | None = None

    @property
    def kind(self) -> str:
        return next(k for k in STEP_KINDS if getattr(self, k) is not None)

    @property
    def touches(self) -> Touches:
        """Which instances it takes out of service."""
        given = self.script or self.playbook or self.webhook
        if given is not None:
            return given.touches
        if self.restart is not None:
            return self.restart.scope
        return "service" if self.kind in OF_INSTANCES else "nothing"

    @property
    def repeatable(self) -> bool:
        """Whether doing it twice is as good as once: as declared, else as its kind is. What has
        an undo can make it worse, and is never done again unseen."""
        if self.undo is not None:
            return False
        return self.kind not in ONCE if self.idempotent is None else self.idempotent

    @model_validator(mode="before")
    @classmethod
    def _bare_kind(cls, value: object) -> object:
        """`restart:` with nothing behind it means its defaults; `- restart` too."""
        if isinstance(value, str):
            return {value: {}}
        if isinstance(value, Mapping):
            kinds = [k for k in STEP_KINDS if k in value]
            if len(kinds) == 1 and value[kinds[0]] is None:
                return {**value, kinds[0]: {}}
        return value

    @model_validator(mode="after")
    def _one_kind(self) -> Step:
        kinds = [k for k in STEP_KINDS if getattr(self, k) is not None]
        if len(kinds) != 1:
            raise ValueError(
                f"a step has exactly one of {', '.join(STEP_KINDS)}"
                + (f", not {' and '.join(kinds)}" if kinds else "")
            )
        return self
