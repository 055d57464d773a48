"""Bulk changes of targets: requests, the changes that follow from them, and how responses describe these."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Self
from uuid import UUID

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field

from netmon.api.targets import Location, Refuses, TargetBody, TargetPatch, with_stored_headers
from netmon.bulk_store import BulkChange
from netmon.target_models import Target, TargetSettings, settings_of
from netmon.target_store import MAX_TARGETS

MAX_ERRORS = 100
"""Invalid fields that a response lists."""


class BulkPatch(TargetPatch):
    """A partial change of the target with this id."""

    id: UUID


class BulkRequest(BaseModel):
    """Targets to create, to update and to delete."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    create: Annotated[list[TargetBody], Field(max_length=MAX_TARGETS)] = Field(default_factory=list)
    update: Annotated[list[BulkPatch], Field(max_length=MAX_TARGETS)] = Field(default_factory=list)
    delete: Annotated[list[UUID], Field(max_length=MAX_TARGETS)] = Field(default_factory=list)


class FieldChange(BaseModel):
    """A change of a setting; header values are masked, so both may look alike."""

    field: Annotated[str, Field(examples=["spec.url"])]
    before: Any
    after: Any


class TargetReference(BaseModel):
    """A target by its id and name; without an id it is not created yet."""

    id: UUID | None
    name: str


class UpdatedTarget(TargetReference):
    """A target whose settings change; the name is the former one."""

    changes: list[FieldChange]


class BulkResult(BaseModel):
    """The changes of a request; in a dry run, those that it would make."""

    dry_run: bool
    created: list[TargetReference]
    updated: list[UpdatedTarget]
    deleted: list[TargetReference]
    missing: list[TargetReference]
    """Targets that are not in the list and were kept."""
    unchanged: int
    """The number of targets of the request whose settings do not change."""

    @classmethod
    def of(cls, change: BulkChange, *, dry_run: bool) -> Self:
        """The result of a change."""
        return cls(
            dry_run=dry_run,
            created=[TargetReference(id=None if dry_run else each.id, name=each.name) for each in change.create],
            updated=[
                UpdatedTarget(id=before.id, name=before.name, changes=field_changes(before, after))
                for before, after in change.update
            ],
            deleted=_references(change.delete),
            missing=_references(change.missing),
            unchanged=change.unchanged,
        )


def field_changes(before: TargetSettings, after: TargetSettings) -> list[FieldChange]:
    """The settings that differ, by their paths, with masked credentials."""
    shown = flat(_masked(before)), flat(_masked(after))
    return [
        FieldChange(field=name, before=shown[0].get(name), after=shown[1].get(name))
        for name in different(flat(before), flat(after))
    ]


def different(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """The paths whose values differ."""
    absent = object()
    return [name for name in dict.fromkeys([*before, *after]) if before.get(name, absent) != after.get(name, absent)]


def plan_list(
    bodies: Sequence[TargetBody],
    stored: Sequence[Target],
    refuses: Refuses,
    *,
    prune: bool,
    root: Location = ("body",),
) -> BulkChange:
    """The change after which the targets of a list are stored.

    Args:
        bodies: the list.
        stored: all stored targets.
        refuses: the check of specs.
        prune: whether to delete the targets that are not in the list.
        root: the location of the list in the request.

    Raises:
        RequestValidationError: names the index and the field of each mistake.
    """
    by_id = {target.id: target for target in stored}
    by_name = {target.name: target for target in stored}
    errors = Errors()
    create: list[Target] = []
    listed: list[tuple[Location, UUID]] = []
    wanted: list[tuple[Target, TargetSettings]] = []
    for index, body in enumerate(bodies):
        at: Location = (*root, index)
        before = by_name.get(body.name) if body.id is None else by_id.get(body.id)
        if before is None and body.id is not None:
            errors.add((*at, "id"), "there is no target with this id: omit the id to create the target")
            continue
        if before is not None:
            listed.append(((*at, "id"), before.id))
        with errors.collected():
            settings = with_stored_headers(settings_of(body), before, refuses, at)
            if before is None:
                create.append(Target.of(settings))
            else:
                wanted.append((before, settings))
    errors.add_duplicates(listed)
    names: dict[Location, str] = {(*root, index, "name"): body.name for index, body in enumerate(bodies)}
    errors.add_duplicates(names.items())
    known = {target for _, target in listed}
    others = [target for target in stored if target.id not in known]
    kept = [] if prune else others
    _check_names(errors, names, kept)
    errors.raise_any()
    update, unchanged = _different(wanted)
    return BulkChange(create, update, others if prune else (), kept, unchanged)


def plan_request(body: BulkRequest, stored: Sequence[Target], refuses: Refuses) -> BulkChange:
    """The change that a request asks for; arguments and errors as in `plan_list`."""
    by_id = {target.id: target for target in stored}
    errors = Errors()
    create: list[Target] = []
    wanted: list[tuple[Target, TargetSettings]] = []
    names: dict[Location, str] = {}
    for index, each in enumerate(body.create):
        at: Location = ("body", "create", index)
        names[*at, "name"] = each.name
        with errors.collected():
            create.append(Target.of(with_stored_headers(settings_of(each), None, refuses, at)))
    for index, patch in enumerate(body.update):
        at = ("body", "update", index)
        before = by_id.get(patch.id)
        if before is None:
            errors.add((*at, "id"), f"there is no target {patch.id}")
            continue
        with errors.collected():
            settings = with_stored_headers(patch.applied_to(before, at), before, refuses, at)
            wanted.append((before, settings))
            names[*at, "name"] = settings.name
    for index, target in enumerate(body.delete):
        if target not in by_id:
            errors.add(("body", "delete", index), f"there is no target {target}")
    ids: list[tuple[Location, UUID]] = [
        (("body", "update", index, "id"), patch.id) for index, patch in enumerate(body.update)
    ]
    ids += [(("body", "delete", index), target) for index, target in enumerate(body.delete)]
    errors.add_duplicates(ids)
    errors.add_duplicates(names.items())
    touched = {target for _, target in ids}
    _check_names(errors, names, [target for target in stored if target.id not in touched])
    errors.raise_any()
    update, unchanged = _different(wanted)
    return BulkChange(create, update, [by_id[target] for target in body.delete], (), unchanged)


class Errors:
    """Collects the mistakes of a request."""

    def __init__(self) -> None:
        self._found: list[dict[str, Any]] = []

    def add(self, at: Location, message: str) -> None:
        """Add an error at a location."""
        self._found.append({"loc": at, "msg": message})

    def add_duplicates(self, values: Iterable[tuple[Location, object]]) -> None:
        """Add an error for each value that another place of the request has."""
        pairs = list(values)
        counts = Counter(value for _, value in pairs)
        for at, value in pairs:
            if counts[value] > 1:
                self.add(at, f"{counts[value]} entries of the request have this {at[-1] if at[-1] == 'name' else 'id'}")

    def collected(self) -> "_Collected":
        """A block whose validation errors are collected instead of raised."""
        return _Collected(self._found)

    def raise_any(self) -> None:
        """Raise the collected errors.

        Raises:
            RequestValidationError: there are mistakes.
        """
        if self._found:
            raise RequestValidationError(self._found[:MAX_ERRORS])


class _Collected:
    def __init__(self, found: list[dict[str, Any]]) -> None:
        self._found = found

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> bool:
        if not isinstance(error, RequestValidationError):
            return False
        self._found += error.errors()
        return True


def _check_names(errors: Errors, names: Mapping[Location, str], others: Sequence[Target]) -> None:
    taken = {target.name for target in others}
    for at, name in names.items():
        if name in taken:
            errors.add(at, "another target has this name")


def _different(
    wanted: Sequence[tuple[Target, TargetSettings]],
) -> tuple[list[tuple[Target, TargetSettings]], int]:
    """The targets whose settings differ from the wanted ones, and the number of the others."""
    update = [(before, settings) for before, settings in wanted if before.settings != settings]
    return update, len(wanted) - len(update)


def _masked(settings: TargetSettings) -> TargetSettings:
    return settings.model_copy(update={"spec": settings.spec.masked()})


def flat(settings: TargetSettings) -> dict[str, Any]:
    """The settings by their paths; lists are values."""
    dumped = settings_of(settings).model_dump(mode="json")
    # Stored specs lack some settings that have their defaults; all of these are plain values.
    dumped["spec"] = {**dict(settings.spec), **dumped["spec"]}
    return dict(paths("", dumped))


def paths(prefix: str, value: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    """The paths and values in a map of maps."""
    for name, each in value.items():
        if isinstance(each, dict):
            yield from paths(f"{prefix}{name}.", each)
        else:
            yield f"{prefix}{name}", each


def _references(targets: Iterable[Target]) -> list[TargetReference]:
    return [TargetReference(id=target.id, name=target.name) for target in targets]
