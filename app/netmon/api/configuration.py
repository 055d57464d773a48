"""The API of the configuration as a whole: targets and maintenance windows, changed in one transaction."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import TypeAdapter

from netmon import access
from netmon.api.bulk import ListQuery, invalidate, json_body, parsed
from netmon.api.configuration_plan import (
    Configuration,
    ConfigurationPlan,
    ConfigurationResult,
    plan_configuration,
    result,
)
from netmon.api.targets import Refuses
from netmon.bulk_store import BulkChange, BulkStore, Stored
from netmon.problems import responses
from netmon.target_reader import TargetReader

_BODY = TypeAdapter(Configuration)


def router(reader: TargetReader, store: BulkStore, auth: access.TokenAuth, refuses: Refuses) -> APIRouter:
    """`PUT /api/configuration`; arguments as in `netmon.api.targets.router`."""
    routes = APIRouter(prefix="/api/configuration", tags=["configuration"])
    writing: dict[str, Any] = {"dependencies": [Depends(auth)], "responses": responses(401, 409, 422, 503)}

    @routes.put("", openapi_extra=json_body({"$ref": "#/components/schemas/Configuration"}), **writing)
    async def replace(request: Request, query: Annotated[ListQuery, Query()]) -> ConfigurationResult:
        """Create and update targets and maintenance windows, and with `prune` delete the others.

        A window is identified by its name, and its target by name or id. Without `maintenance`, windows stay as they
        are; new ones that have ended already are ignored.
        """
        body = await parsed(request, _BODY)
        plans: list[ConfigurationPlan] = []

        def planner(stored: Stored) -> BulkChange:
            plans.append(plan_configuration(body, stored, refuses, prune=query.prune))
            return plans[-1].change

        if query.dry_run:
            await store.preview(planner)
        else:
            await invalidate(reader, await store.apply(planner, windows=body.maintenance is not None))
        return await asyncio.to_thread(result, plans[-1], dry_run=query.dry_run)

    return routes
