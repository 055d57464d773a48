"""The software bill of materials of the application's image, in CycloneDX: ``python -m toolkit.images.sbom [FILE]``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.checkout.project import Project
from toolkit.core import terminal
from toolkit.core.errors import ToolkitError
from toolkit.core.files import write_atomically
from toolkit.engine.compose import Docker
from toolkit.images.packages import Package, packages, read

if TYPE_CHECKING:
    from cyclonedx.model.component import Component

FILE = "sbom.cdx.json"


def bill(image: str, digest: str, system: dict[str, str], found: list[Package]) -> str:
    """A CycloneDX document, in JSON, for an image and its packages; ``system`` has the variables of os-release.

    Raises:
        ToolkitError: the document does not conform to the CycloneDX schema.
    """
    from cyclonedx.model import HashAlgorithm, HashType
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output.json import JsonV1Dot6
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    name, _, version = image.rpartition(":")
    root = Component(
        type=ComponentType.CONTAINER,
        name=name,
        version=version,
        bom_ref="image",
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest.removeprefix("sha256:"))],
    )
    document = Bom(components=[_component(package, system) for package in found])
    document.metadata.component = root
    document.register_dependency(root, document.components)
    text = JsonV1Dot6(document).output_as_string(indent=2)
    if error := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        raise ToolkitError("the bill of materials does not conform to the CycloneDX schema", str(error))
    return text


def _component(package: Package, system: dict[str, str]) -> Component:
    from cyclonedx.contrib.license.factories import LicenseFactory
    from cyclonedx.model import HashAlgorithm, HashType, Property
    from cyclonedx.model.component import Component, ComponentType
    from packageurl import PackageURL

    qualifiers = {"arch": package.architecture}
    of_distribution = package.kind in ("apk", "deb")
    if of_distribution:
        release = system.get("VERSION_ID") or system.get("VERSION_CODENAME")
        qualifiers["distro"] = "-".join(filter(None, (system.get("ID"), release)))
    space = system.get("ID") if of_distribution else None
    url = PackageURL(package.kind, space, package.name, package.version, {k: v for k, v in qualifiers.items() if v})
    return Component(
        type=ComponentType.LIBRARY,
        name=package.name,
        version=package.version,
        purl=url,
        bom_ref="#".join(filter(None, (str(url), package.path))),
        licenses=[LicenseFactory().make_from_string(package.license)] if package.license else (),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=package.sha256)] if package.sha256 else (),
        properties=[
            Property(name=f"network-monitor:{name}", value=value)
            for name, value in (("path", package.path), ("sha256-of", package.register))
            if value
        ],
    )


def main(arguments: list[str]) -> int:
    """Write the bill of materials of the image of the service app.

    Raises:
        ToolkitError: the image or the file cannot be read or written.
    """
    project = Project.load()
    docker = Docker(project.root)
    target = Path(arguments[0]) if arguments else project.root / FILE
    image = docker.effective()["services"]["app"]["image"]
    contents = read(docker, image)
    found = packages(contents)
    inspected = docker.check(docker("image", "inspect", image), f"inspect {image}")
    write_atomically(target, bill(image, json.loads(inspected.stdout)[0]["Id"], contents.system, found) + "\n")
    kinds = [package.kind for package in found]
    print(f"{target}: {', '.join(f'{kinds.count(kind)} {kind}' for kind in sorted(set(kinds)))} packages of {image}")
    return 0


if __name__ == "__main__":
    terminal.run(lambda: main(sys.argv[1:]))
