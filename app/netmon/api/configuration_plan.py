"""The configuration as a whole: targets and maintenance windows, and the changes that follow from it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID, uuid4

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from netmon.api.bulk_plan import BulkResult, Errors, FieldChange, different, paths, plan_list
from netmon.api.targets import Location, Refuses, TargetBody
from netmon.bulk_store import BulkChange, Stored
from netmon.maintenance import MaintenanceWindow, Once, Weekly, WindowSettings, WindowView
from netmon.maintenance_store import MAX_WINDOWS, WindowChanges
from netmon.target_models import Tag, Target
from netmon.target_store import MAX_TARGETS

_READ_ONLY = WindowView.model_fields.keys() - WindowSettings.model_fields.keys()


class WindowBody(BaseModel):
    """The settings of a maintenance window; a response can be sent back: its read-only fields are ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    target: Annotated[str | None, Field(description="The name or the id of the target.", max_length=100)] = None
    tag: Tag | None = None
    once: Once | None = None
    weekly: Weekly | None = None

    @model_validator(mode="before")
    @classmethod
    def _ignore_read_only(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {name: value for name, value in data.items() if name not in _READ_ONLY}


class Configuration(BaseModel):
    """All targets, and all maintenance windows unless they are null."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    targets: Annotated[list[TargetBody], Field(max_length=MAX_TARGETS)]
    maintenance: Annotated[list[WindowBody], Field(max_length=MAX_WINDOWS)] | None = None


class UpdatedWindow(BaseModel):
    """A window whose settings change."""

    name: str
    changes: list[FieldChange]


class WindowResult(BaseModel):
    """The changes of a request to the maintenance windows; in a dry run, those that it would make."""

    created: list[str]
    updated: list[UpdatedWindow]
    deleted: list[str]
    missing: list[str]
    """Windows that are not in the request and were kept, without those that have ended."""
    ended: list[str]
    """New windows that have ended already, and were ignored."""
    unchanged: int


class ConfigurationResult(BulkResult):
    """The changes of a request; in a dry run, those that it would make."""

    maintenance: WindowResult | None = None


@dataclass(frozen=True)
class ConfigurationPlan:
    """A change, and its report on the windows; None if the request has none."""

    change: BulkChange
    windows: WindowResult | None


def plan_configuration(body: Configuration, stored: Stored, refuses: Refuses, *, prune: bool) -> ConfigurationPlan:
    """The change after which a configuration is stored; arguments and errors as in `plan_list`.

    Windows are identified by their names. With `prune`, windows that are not in the request are deleted, unless the
    request has no list of windows.
    """
    change = plan_list(body.targets, stored.targets, refuses, prune=prune, root=("body", "targets"))
    if body.maintenance is None:
        return ConfigurationPlan(change, None)
    names = _names_after(stored.targets, change)
    windows = _Windows(names, stored)
    changes, result = windows.plan(body.maintenance, prune=prune)
    return ConfigurationPlan(replace(change, windows=changes), result)


def _names_after(stored: Sequence[Target], change: BulkChange) -> dict[UUID, str]:
    """The names of the targets after a change."""
    deleted = {target.id for target in change.delete}
    found = {target.id: target.name for target in stored if target.id not in deleted}
    found |= {before.id: settings.name for before, settings in change.update}
    return found | {target.id: target.name for target in change.create}


class _Windows:
    """Plans the change of windows, with the names of the targets after the change."""

    def __init__(self, names: Mapping[UUID, str], stored: Stored) -> None:
        self._names = names
        self._ids = {name: target for target, name in names.items()}
        self._stored = {window.name: window for window in stored.windows}
        self._now = stored.now

    def plan(self, bodies: Sequence[WindowBody], *, prune: bool) -> tuple[WindowChanges, WindowResult]:
        errors = Errors()
        create: list[MaintenanceWindow] = []
        update: list[tuple[MaintenanceWindow, WindowSettings]] = []
        ended: list[str] = []
        unchanged = 0
        names: dict[Location, str] = {}
        for index, body in enumerate(bodies):
            at: Location = ("body", "maintenance", index)
            with errors.collected():
                settings = self._settings(body, at)
                names[*at, "name"] = settings.name
                before = self._stored.get(settings.name)
                refused = settings.refused(self._now)
                if before is not None and before.settings == settings:
                    unchanged += 1
                elif before is None and _has_ended(settings, self._now):
                    ended.append(settings.name)
                elif refused:
                    errors.add((*at, "once"), refused)
                elif before is None:
                    create.append(MaintenanceWindow(**dict(settings), id=uuid4()))
                else:
                    update.append((before, settings))
        errors.add_duplicates(names.items())
        errors.raise_any()
        listed = set(names.values())
        others = [window for name, window in self._stored.items() if name not in listed]
        missing = [window.name for window in others if not _has_ended(window, self._now)]
        result = WindowResult(
            created=[window.name for window in create],
            updated=[self._updated(before, settings) for before, settings in update],
            deleted=[window.name for window in others] if prune else [],
            missing=[] if prune else missing,
            ended=ended,
            unchanged=unchanged,
        )
        return WindowChanges(create, update, others if prune else ()), result

    def _settings(self, body: WindowBody, at: Location) -> WindowSettings:
        target = None
        if body.target is not None:
            target = self._ids.get(body.target) or _known_id(body.target, self._names)
            if target is None:
                message = f"there is no target {body.target}"
                raise RequestValidationError([{"loc": (*at, "target"), "msg": message}])
        try:
            return WindowSettings(name=body.name, target=target, tag=body.tag, once=body.once, weekly=body.weekly)
        except ValidationError as error:
            raise RequestValidationError([{**each, "loc": (*at, *each["loc"])} for each in error.errors()]) from None

    def _updated(self, before: MaintenanceWindow, after: WindowSettings) -> UpdatedWindow:
        old, new = dict(self._flat(before)), dict(self._flat(after))
        changes = [FieldChange(field=name, before=old.get(name), after=new.get(name)) for name in different(old, new)]
        return UpdatedWindow(name=before.name, changes=changes)

    def _flat(self, window: WindowSettings) -> Iterator[tuple[str, Any]]:
        values = window.model_dump(mode="json", include=set(WindowSettings.model_fields), exclude_none=True)
        if window.target:
            values["target"] = self._names.get(window.target, str(window.target))
        yield from paths("", values)


def _known_id(text: str, names: Mapping[UUID, str]) -> UUID | None:
    try:
        found = UUID(text)
    except ValueError:
        return None
    return found if found in names else None


def _has_ended(window: WindowSettings, now: datetime) -> bool:
    return window.once is not None and window.once.ends_at <= now


def result(plan: ConfigurationPlan, *, dry_run: bool) -> ConfigurationResult:
    """The description of a plan that was carried out."""
    found = ConfigurationResult.of(plan.change, dry_run=dry_run)
    return found.model_copy(update={"maintenance": plan.windows})
