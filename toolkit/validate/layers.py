"""Checks of every combination of layers: accepted by Compose, and valid by the Compose specification."""

from __future__ import annotations

from collections.abc import Iterator

from check_jsonschema.builtin_schemas import get_builtin_schema
from jsonschema import Draft202012Validator

from toolkit.validate.checkout import Checkout
from toolkit.validate.findings import Finding


def combinations(checkout: Checkout) -> Iterator[Finding]:
    """Compose accepts every combination of layers and groups without warnings."""
    for each in checkout.configurations:
        yield from each.warnings or (checkout.place(each.files, "services"),)


def schema(checkout: Checkout) -> Iterator[Finding]:
    """The effective configurations are valid by the schema of the Compose specification."""
    validator = Draft202012Validator(get_builtin_schema("vendor.compose-spec"))
    for each in checkout.full_configurations:
        yield checkout.place(each.files, "services")
        for error in validator.iter_errors(each.config):
            yield checkout.place(each.files, *error.absolute_path, problem=f"compose-spec: {error.message}")
