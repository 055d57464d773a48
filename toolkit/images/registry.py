"""A client of the OCI distribution API: whether a tag exists, the list of tags, manifests and sizes, without a pull.

It covers what docker's command line cannot do, or does with one process per request. Requests come from this process,
not from the engine: they use its proxy settings and certificates, and not the engine's mirrors.
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
"""The timeout for a connection, and between two bytes of a response."""
PAGES = 200
"""The maximum number of pages in a list of tags."""
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
    """A registry did not respond, or its response was an error.

    ``status`` is the HTTP status, 0 without a response; ``retry_after`` is the header Retry-After, in seconds.
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
        """Parse a name as docker does: the default registry is Docker Hub, the default tag ``latest``."""
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
        """The reference of its manifest: the digest, else the tag."""
        return self.digest or self.tag

    @property
    def url(self) -> str:
        """The URL of the repository; plain HTTP only on the loopback interface."""
        host = HUB_HOST if self.registry == HUB else self.registry
        return f"{'http' if _is_loopback(host) else 'https'}://{host}/v2/{self.repository}"


def _session() -> requests.Session:
    import requests

    session = requests.Session()
    session.auth = lambda request: request  # prevents a netrc file from replacing the Authorization header
    return session


@dataclass
class Registries:
    """A client of all registries, with the credentials of `docker login`."""

    _session: requests.Session = field(default_factory=_session)
    _authorization: dict[str, str] = field(default_factory=dict)

    def exists(self, name: ImageName) -> bool:
        """Whether the registry has the image.

        Raises:
            RegistryError: the registry does not respond, or refuses the request.
        """
        try:
            self.head(name)
        except RegistryError as error:
            if error.status == 404:
                return False
            raise
        return True

    def head(self, name: ImageName) -> None:
        """Request an image without its content; Docker Hub does not count this as a pull.

        Raises:
            RegistryError: the image does not exist, or the registry does not respond.
        """
        self._request(name, "HEAD", f"{name.url}/manifests/{name.reference}")

    def manifest(self, name: ImageName, reference: str = "") -> dict[str, Any]:
        """The manifest of an image, or of another ``reference`` in its repository: an index, or that of one platform.

        Raises:
            RegistryError: the manifest does not exist, or the registry does not respond.
        """
        return _document(self._request(name, "GET", f"{name.url}/manifests/{reference or name.reference}"))

    def tags(self, name: ImageName) -> list[str]:
        """Every tag of an image's repository, in the registry's order.

        Raises:
            RegistryError: the registry does not list them, or the list is incomplete.
        """
        found: list[str] = []
        url = f"{name.url}/tags/list?n=1000"
        for _ in range(PAGES):
            response = self._request(name, "GET", url)
            found += _document(response).get("tags") or ()
            next_page = response.links.get("next", {}).get("url")
            if not next_page:
                return found
            url = urljoin(url, next_page)
            if urlsplit(url)[:2] != urlsplit(name.url)[:2]:
                raise RegistryError(f"the list of tags continues at another address, {url}")
        raise RegistryError(f"the list of tags has more than {PAGES} pages")

    def _request(self, name: ImageName, method: str, url: str) -> requests.Response:
        """Send a request, authenticating on demand, and require a successful response."""
        key = f"{name.registry}/{name.repository}"
        response = self._send(method, url, self._authorization.get(key))
        if response.status_code == 401 and (challenge := response.headers.get("WWW-Authenticate")):
            self._authorization[key] = self._authenticate(name, challenge)
            response = self._send(method, url, self._authorization[key])
        return _require_success(response)

    def _authenticate(self, name: ImageName, challenge: str) -> str:
        """The Authorization for a challenge, see https://distribution.github.io/distribution/spec/auth/token/."""
        from requests.utils import parse_dict_header

        scheme, _, rest = challenge.partition(" ")
        credentials = basic_credentials(HUB_ACCOUNT if name.registry == HUB else name.registry)
        if scheme.lower() != "bearer":
            if not credentials:
                raise RegistryError("authentication required", 401)
            return f"Basic {credentials}"
        parameters: dict[str, str] = parse_dict_header(rest)  # type: ignore[no-untyped-call]
        realm = parameters.pop("realm", "")
        if urlsplit(realm).scheme != "https" and not _is_loopback(urlsplit(realm).netloc):
            raise RegistryError(f"the authentication server {realm or '(none)'} does not use HTTPS", 401)
        query = {"scope": f"repository:{name.repository}:pull", **parameters}
        response = self._send("GET", realm, f"Basic {credentials}" if credentials else None, query)
        token = _document(_require_success(response))
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
            raise RegistryError(f"no response from {urlsplit(url).netloc} ({type(error).__name__})") from error


def _is_loopback(address: str) -> bool:
    host = urlsplit(f"//{address}").hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _document(response: requests.Response) -> dict[str, Any]:
    try:
        document = json.loads(response.content)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise RegistryError(f"the response of {urlsplit(response.url).netloc} is not a JSON object")
    return document


def _require_success(response: requests.Response) -> requests.Response:
    if response.ok:
        return response
    try:
        message = "; ".join(error.get("message") or error["code"] for error in response.json()["errors"])
    except (ValueError, KeyError, TypeError, AttributeError):
        message = response.reason or ""
    wait = response.headers.get("Retry-After", "")
    raise RegistryError(
        f"{response.status_code} {message}".strip(), response.status_code, float(wait) if wait.isdigit() else None
    )
