"""The packages in an image, and its bill of materials."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest

from tests.unit.toolkit.conftest import FakeDocker, configuration
from toolkit.checkout.project import Project
from toolkit.core.errors import ToolkitError
from toolkit.engine.compose import Result
from toolkit.images import sbom
from toolkit.images.packages import VENDORED, Contents, Package, packages, unpack

SITE = "opt/venv/lib/python3.14/site-packages"
CODE = b"print('hello')\n"
DIGEST = urlsafe_b64encode(hashlib.sha256(CODE).digest()).decode().rstrip("=")
RECORD = f"hello.py,sha256={DIGEST},15\n__pycache__/hello.pyc,,\nhello-1.0.dist-info/RECORD,,\n"
METADATA = "Metadata-Version: 2.4\nName: Hello_World\nVersion: 1.0\nLicense-Expression: MIT\n\nName: not this one\n"
PYTHON = {
    f"{SITE}/hello.py": CODE.decode(),
    f"{SITE}/hello-1.0.dist-info/METADATA": METADATA,
    f"{SITE}/hello-1.0.dist-info/RECORD": RECORD,
}
DEBIAN = {
    "etc/os-release": 'ID=debian\nVERSION_ID="13"\n',
    "var/lib/dpkg/status": "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.41-12\n"
    "Description: library\n a line: with a colon\n\n"
    "Package: gone\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 1\n",
    "var/lib/dpkg/status.d/tzdata": "Package: tzdata\nArchitecture: all\nVersion: 2026a\n",
}
ALPINE = {"lib/apk/db/installed": "C:Q1x\nP:musl\nV:1.2.5-r10\nA:x86_64\nL:MIT\nF:lib\nR:libc.so\n\nP:zlib\nV:1.3\n\n"}
LIBC = Package("deb", "libc6", "2.41-12", architecture="amd64")
TZDATA = Package("deb", "tzdata", "2026a", architecture="all")


def archive(path: Path, files: dict[str, str]) -> Path:
    """A tar archive like that of `docker export`."""
    with tarfile.open(path, "w") as tar:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            tar.addfile(entry, io.BytesIO(text.encode()))
        link = tarfile.TarInfo(f"{SITE}/link")
        link.type, link.linkname = tarfile.SYMTYPE, "hello.py"
        tar.addfile(link)
    return path


def test_python_packages_have_the_digest_of_their_register(tmp_path: Path) -> None:
    assert packages(unpack(archive(tmp_path / "tar", PYTHON))) == [
        Package(
            "pypi", "hello-world", "1.0", "MIT",
            path=f"/{SITE}/hello-1.0.dist-info", register=f"/{SITE}/hello-1.0.dist-info/RECORD",
            sha256=hashlib.sha256(RECORD.encode()).hexdigest(),
        )
    ]  # fmt: skip


@pytest.mark.parametrize(("text", "why"), [("print('other')\n", "changed after installation"), (None, "is missing")])
def test_a_file_changed_after_installation_is_an_error(tmp_path: Path, text: str | None, why: str) -> None:
    files = {**PYTHON, f"{SITE}/hello.py": text or ""}
    if text is None:
        del files[f"{SITE}/hello.py"]
    with pytest.raises(ToolkitError, match=why):
        packages(unpack(archive(tmp_path / "tar", files)))


def vendored(text: str = CODE.decode(), **more: str) -> dict[str, str]:
    """The files of an application with a vendored script, registered with the digest of `CODE`."""
    page = "srv/app/netmon/page"
    data = {"kind": "npm", "name": "plot", "version": "2.0", "license": "MIT", "folder": "static/plot-2.0"}
    register = json.dumps([{**data, "sha256": {"plot.js": hashlib.sha256(CODE).hexdigest()}}])
    files = {"plot.js": text, **more}
    return {f"{page}/vendored.json": register, **{f"{page}/static/plot-2.0/{name}": files[name] for name in files}}


def test_a_vendored_package_has_the_digest_of_its_register(tmp_path: Path) -> None:
    files = vendored()
    register = "srv/app/netmon/page/vendored.json"
    assert packages(unpack(archive(tmp_path / "tar", files))) == [
        Package(
            "npm", "plot", "2.0", "MIT",
            path="/srv/app/netmon/page/static/plot-2.0", register=f"/{register}",
            sha256=hashlib.sha256(files[register].encode()).hexdigest(),
        )
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("files", "why"),
    [
        (vendored("other"), "plot.js does not match its register"),
        (vendored(**{"more.js": ""}), "more.js does not match its register"),
        ({name: text for name, text in vendored().items() if name.endswith(".json")}, "plot.js is missing"),
    ],
)
def test_a_vendored_file_that_does_not_match_its_register_is_an_error(
    tmp_path: Path, files: dict[str, str], why: str
) -> None:
    with pytest.raises(ToolkitError, match=why):
        packages(unpack(archive(tmp_path / "tar", files)))


def test_the_register_has_every_vendored_file_of_the_application() -> None:
    app = Path(__file__).parents[4] / "app"
    page = (app / VENDORED).parent
    contents = Contents(
        {
            str(path.relative_to(app)): hashlib.sha256(path.read_bytes()).digest()
            for path in page.rglob("*")
            if path.is_file()
        },
        {VENDORED: (app / VENDORED).read_text()},
    )
    found = packages(contents)
    # The application's own files are directly in the folder `static`.
    folders = {f"/{path.relative_to(app)}" for path in (page / "static").iterdir() if path.is_dir()}
    assert {package.path for package in found} == folders
    assert all(package.path.endswith(f"/{package.name}-{package.version}") for package in found)


def test_packages_of_distributions(tmp_path: Path) -> None:
    assert packages(unpack(archive(tmp_path / "tar", DEBIAN))) == [LIBC, TZDATA]
    assert packages(unpack(archive(tmp_path / "tar", ALPINE))) == [
        Package("apk", "musl", "1.2.5-r10", "MIT", "x86_64"),
        Package("apk", "zlib", "1.3"),
    ]


def test_an_image_without_packages_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ToolkitError, match="no packages found"):
        packages(unpack(archive(tmp_path / "tar", {"bin/app": "x"})))


def export(docker: FakeDocker, files: dict[str, str]) -> None:
    """Script an engine with an image that has these files."""
    docker.on("config", stdout=configuration(app={"image": "network-monitor:dev"}))
    docker.on("create", stdout="c0ffee\n")
    docker.on("rm", "c0ffee")
    docker.on("image", "inspect", stdout=[{"Id": f"sha256:{'1' * 64}"}])

    def write(argv: list[str]) -> Result:
        archive(Path(next(word for word in argv if word.startswith("--output=")).partition("=")[2]), files)
        return Result(0, "", "")

    docker.answer("export", by=write)


def test_the_bill_lists_the_image_and_its_packages(
    project: Project, docker: FakeDocker, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    export(docker, {**PYTHON, **DEBIAN, **vendored()})
    monkeypatch.setattr(Project, "load", lambda: project)
    assert sbom.main([]) == 0
    assert "2 deb, 1 npm, 1 pypi packages of network-monitor:dev" in capsys.readouterr().out
    document = json.loads((project.root / sbom.FILE).read_text())
    assert document["metadata"]["component"]["name"] == "network-monitor"
    assert document["metadata"]["component"]["hashes"] == [{"alg": "SHA-256", "content": "1" * 64}]
    found = {component["purl"]: component for component in document["components"]}
    assert found.keys() == {
        "pkg:pypi/hello-world@1.0",
        "pkg:npm/plot@2.0",
        "pkg:deb/debian/libc6@2.41-12?arch=amd64&distro=debian-13",
        "pkg:deb/debian/tzdata@2026a?arch=all&distro=debian-13",
    }
    python = found["pkg:pypi/hello-world@1.0"]
    assert python["licenses"] == [{"license": {"id": "MIT"}}]
    assert python["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(RECORD.encode()).hexdigest()}]
    assert found["pkg:npm/plot@2.0"]["licenses"] == [{"license": {"id": "MIT"}}]
    assert found["pkg:npm/plot@2.0"]["hashes"]
    assert {each["ref"] for each in document["dependencies"]} >= {"image"}
    assert docker.ran("rm", "c0ffee")


def test_a_missing_image_is_reported(project: Project, docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    docker.on("config", stdout=configuration(app={"image": "network-monitor:dev"}))
    docker.on("create", code=1, stderr="Error response from daemon: No such image: network-monitor:dev")
    monkeypatch.setattr(Project, "load", lambda: project)
    with pytest.raises(ToolkitError, match="the image network-monitor:dev does not exist"):
        sbom.main([])
    assert not (project.root / sbom.FILE).exists()
