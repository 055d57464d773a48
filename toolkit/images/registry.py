"""What registries know of images without a pull: whether a tag exists, which tags there are, how large an image is.

A client of the OCI distribution API, as far as docker's command line has no command for it, or takes a process for
each question. Requests come from this process, not from the engine: with its proxy settings and certificates, and
without the engine's mirrors.
"""

from __future__ import annotations

import ipaddress
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from toolkit.images.logins import basic_credentials

if TYPE_CHECKING:
    import requests

SECONDS = 10.0
"""Without a byte of an answer."""
PAGES = 200
HUB, HUB_HOST, HUB_ACCOUNT = "docker.io", "registry-1.docker.io", "https://index.docker.io/v1/"
MANIFESTS = ", ".join(
    f"application/vnd.{kind}+json"
    for kind in (
        "oci.image.index.v1",
        "oci.image.manifest.v1",
        "docker.distribution.manifest.list.v2",
        "docker.distribution.manifest.v2",
    )
)


class RegistryError(Exception):
    """A registry did not answer, or not with what was asked for.

    ``status`` is that of HTTP, 0 where there was no answer; ``retry_after`` the seconds that it asks to wait.
    """

    def __init__(self, why: str, status: int = 0, retry_after: float | None = None) -> None:
        super().__init__(why)
        self.status, self.retry_after = status, retry_after


@dataclass(frozen=True)
class ImageName:
    """The parts of an image's name; ``reference`` is its digest, else its tag."""

    registry: str
    repository: str
    tag: str
    digest: str = ""

    @classmethod
    def parse(cls, name: str) -> ImageName:
        """The parts as docker reads them: without a registry it is Docker Hub's, without a tag ``latest``."""
        rest, _, digest = name.partition("@")
        first, slash, others = rest.partition("/")
        named = bool(slash) and ("." in first or ":" in first or first == "localhost")
        registry, rest = (first, others) if named else (HUB, rest)
        repository, _, tag = rest.partition(":")
        if registry == HUB and "/" not in repository:
            repository = f"library/{repository}"
        return cls(registry, repository, tag or "latest", digest)

    @property
    def reference(self) -> str:
        """What a manifest is asked for by."""
        return self.digest or self.tag

    @property
    def url(self) -> str:
        """Where the registry answers for this repository; plain HTTP on the loopback interface alone."""
        host = HUB_HOST if self.registry == HUB else self.registry
        return f"{'http' if _is_loopback(host) else 'https'}://{host}/v2/{self.repository}"


def _session() -> requests.Session:
    import requests

    session = requests.Session()
    session.auth = lambda request: request  # else a netrc file would win over the Authorization that is sent
    return session


@dataclass
class Registries:
    """Every registry, asked with the credentials of `docker login`."""

    _session: requests.Session = field(default_factory=_session)
    _authorization: dict[str, str] = field(default_factory=dict)

    def exists(self, name: ImageName) -> bool:
        """Whether the registry has the image.

        Raises:
            RegistryError: it does not answer that.
        """
        try:
            self.head(name)
        except RegistryError as error:
            if error.status == 404:
                return False
            raise
        return True

    def head(self, name: ImageName) -> None:
        """Ask for an image without its content; Docker Hub does not count that as a pull.

        Raises:
            RegistryError: the registry does not have it, or does not answer.
        """
        self._request(name, "HEAD", f"{name.url}/manifests/{name.reference}")

    def manifest(self, name: ImageName, reference: str = "") -> dict[str, Any]:
        """The manifest of an image, or of a ``reference`` in its repository: a list of platforms, or the layers of one.

        Raises:
            RegistryError: there is none to be had.
        """
        return _document(self._request(name, "GET", f"{name.url}/manifests/{reference or name.reference}"))

    def tags(self, name: ImageName) -> list[str]:
        """Every tag of an image's repository, in the registry's order.

        Raises:
            RegistryError: the registry does not list them, or not to the end.
        """
        found: list[str] = []
        url = f"{name.url}/tags/list?n=1000"
        for _ in range(PAGES):
            answer = self._request(name, "GET", url)
            found += _document(answer).get("tags") or ()
            following = answer.links.get("next", {}).get("url")
            if not following:
                return found
            url = urljoin(url, following)
            if urlsplit(url)[:2] != urlsplit(name.url)[:2]:
                raise RegistryError(f"the list of tags continues at another address, {url}")
        raise RegistryError(f"the list of tags has more than {PAGES} pages")

    def _request(self, name: ImageName, method: str, url: str) -> requests.Response:
        """An answer with a status of success, after a login where the registry asks for one."""
        key = f"{name.registry}/{name.repository}"
        answer = self._send(method, url, self._authorization.get(key))
        if answer.status_code == 401 and (challenge := answer.headers.get("WWW-Authenticate")):
            self._authorization[key] = self._authenticate(name, challenge)
            answer = self._send(method, url, self._authorization[key])
        return _require_success(answer)

    def _authenticate(self, name: ImageName, challenge: str) -> str:
        """The Authorization that a registry asks for, see https://distribution.github.io/distribution/spec/auth/token/."""
        from requests.utils import parse_dict_header

        scheme, _, rest = challenge.partition(" ")
        credentials = basic_credentials(HUB_ACCOUNT if name.registry == HUB else name.registry)
        if scheme.lower() != "bearer":
            if not credentials:
                raise RegistryError("authentication required", 401)
            return f"Basic {credentials}"
        asked: dict[str, str] = parse_dict_header(rest)  # type: ignore[no-untyped-call]
        realm = asked.pop("realm", "")
        if urlsplit(realm).scheme != "https" and not _is_loopback(urlsplit(realm).netloc):
            raise RegistryError(f"logins go to {realm or 'no address'}, which is not HTTPS", 401)
        query = {"scope": f"repository:{name.repository}:pull", **asked}
        answer = self._send("GET", realm, f"Basic {credentials}" if credentials else None, query)
        token = _document(_require_success(answer))
        return f"Bearer {token.get('token') or token.get('access_token')}"

    def _send(
        self, method: str, url: str, authorization: str | None, query: dict[str, str] | None = None
    ) -> requests.Response:
        import requests

        headers = {"Accept": MANIFESTS, **({"Authorization": authorization} if authorization else {})}
        try:
            return self._session.request(
                method, url, params=query, headers=headers, timeout=SECONDS, allow_redirects=True
            )
        except requests.RequestException as error:
            raise RegistryError(f"no answer from {urlsplit(url).netloc} ({type(error).__name__})") from error


def _is_loopback(address: str) -> bool:
    host = urlsplit(f"//{address}").hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _document(answer: requests.Response) -> dict[str, Any]:
    try:
        document = json.loads(answer.content)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise RegistryError(f"{urlsplit(answer.url).netloc} did not answer with a JSON object")
    return document


def _require_success(answer: requests.Response) -> requests.Response:
    if answer.ok:
        return answer
    try:
        said = "; ".join(error.get("message") or error["code"] for error in answer.json()["errors"])
    except (ValueError, KeyError, TypeError, AttributeError):
        said = answer.reason or ""
    wait = answer.headers.get("Retry-After", "")
    raise RegistryError(
        f"{answer.status_code} {said}".strip(), answer.status_code, float(wait) if wait.isdigit() else None
    )
