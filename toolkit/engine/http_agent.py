"""Send a batch of HTTP requests in parallel and print the responses as JSON.

`toolkit.engine.stack_http` runs the source of this file in an interpreter inside the stack, so it uses the standard
library only.
"""

import http.client
import json
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any

AT_ONCE = 16


def main(requests: list[dict[str, Any]]) -> None:
    """Print one response for each request, in the same order: status, headers and body, or the error."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        print(json.dumps(list(pool.map(send, requests))))


def send(request: dict[str, Any]) -> dict[str, Any]:
    """Send one request; an error status is a response as well."""
    body = None if request["body"] is None else request["body"].encode()
    # Services of the stack are reached directly, whatever proxies the environment sets.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        sent = urllib.request.Request(request["url"], body, request["headers"], method=request["method"])  # noqa: S310
        with opener.open(sent, timeout=request["timeout"]) as response:
            return payload(response.status, response.headers, response.read())
    except urllib.error.HTTPError as error:
        return payload(error.code, error.headers, error.read())
    except urllib.error.URLError as error:
        return failure(str(error.reason))
    except TimeoutError:
        return failure(f"no answer within {request['timeout']:g} s")
    except (http.client.HTTPException, OSError, ValueError) as error:
        return failure(f"{type(error).__name__}: {error}")


def payload(status: int, headers: Any, body: bytes) -> dict[str, Any]:
    """A response; header names are in lower case."""
    lowered = {name.lower(): value for name, value in headers.items()}
    return {"status": status, "headers": lowered, "body": body.decode(errors="replace"), "error": ""}


def failure(why: str) -> dict[str, Any]:
    """The result of a request without a response."""
    return {"status": 0, "headers": {}, "body": "", "error": why}
