"""The registry of probe kinds: every kind is complete, and an incomplete one fails."""

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Literal, get_args

import pytest
from jinja2 import Environment, FileSystemLoader

from netmon import page
from netmon.guard import Guard
from netmon.kinds import KINDS, ProbeKind
from netmon.models import Job, Plan
from netmon.probing import Prober
from netmon.specs import BaseSpec, Kind, Spec
from netmon.target_models import TargetSettings

APP = Path(__file__).parents[3] / "app"
PAGE = Path(page.__file__).parent
NAMES = get_args(Kind)


def test_every_kind_is_registered_with_its_spec() -> None:
    assert set(KINDS) == set(NAMES)
    assert {kind.spec for kind in KINDS.values()} == set(get_args(get_args(Spec)[0]))
    assert all(kind.spec.model_fields["kind"].default == name for name, kind in KINDS.items())


@pytest.mark.anyio
async def test_every_kind_has_a_prober_unless_its_targets_report_themselves() -> None:
    async with Prober(Guard(), "test") as prober:
        assert set(prober._probe_functions) == set(NAMES) - {"heartbeat"}


def test_a_job_of_a_kind_of_a_later_release_is_malformed_and_thus_dead_lettered() -> None:
    job = Job.of(Plan(spec=KINDS["tls"].spec(host="a.example")), "target")
    later = job.encode().replace(b'"tls"', b'"later"')
    assert Job.decode(job.encode()) == job
    with pytest.raises(ValueError, match="later"):
        Job.decode(later)


@pytest.mark.parametrize("name", NAMES)
def test_every_kind_has_valid_examples(name: Kind) -> None:
    examples = [TargetSettings.model_validate(example["value"]) for example in KINDS[name].examples.values()]
    assert {example.spec.kind for example in examples} == {name}


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_of_a_kind_has_a_form_field(name: Kind) -> None:
    template = Environment(loader=FileSystemLoader(PAGE / "templates"), autoescape=True).get_template(
        f"kinds/{name}.html"
    )
    macros = [getattr(template.module, name, None) for name in ("form_fields", "more_fields")]
    form = "".join(macro(KINDS[name].blank) for macro in macros if macro)
    fields = KINDS[name].spec.model_fields.keys() - {"kind"}
    assert [field for field in fields if f'name="spec/{name}/{field}"' not in form] == []
    template.module.facts(KINDS[name].blank, None)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", NAMES)
def test_the_form_hides_the_fields_of_other_kinds(name: Kind) -> None:
    rule = f".form:has([value={name}]:checked) [data-kind]:not([data-kind={name}])"
    assert rule in (PAGE / "static" / "page.css").read_text()


@pytest.mark.parametrize("part", [field.name for field in dataclasses.fields(ProbeKind)])
def test_a_kind_without_one_of_its_parts_cannot_be_registered(part: str) -> None:
    parts = {field.name: getattr(KINDS["tcp"], field.name) for field in dataclasses.fields(ProbeKind)}
    assert ProbeKind(**parts) == KINDS["tcp"]
    del parts[part]
    with pytest.raises(TypeError, match=part):
        ProbeKind(**parts)


def test_a_spec_without_an_endpoint_cannot_be_created() -> None:
    """The guard would not check it."""

    class Unguarded(BaseSpec):
        kind: Literal["unguarded"] = "unguarded"

        @property
        def address(self) -> str:
            return "unguarded:"

    with pytest.raises(TypeError, match="endpoint"):
        Unguarded()  # type: ignore[abstract]


def test_the_api_does_not_import_the_libraries_of_probing() -> None:
    libraries = ("netmon.probing", "aiohttp", "pycurl")
    program = f"import sys, netmon.api; print([name for name in {libraries} if name in sys.modules])"
    environ = {"PYTHONPATH": str(APP)}
    done = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
