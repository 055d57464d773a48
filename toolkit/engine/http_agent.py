"""Asks a batch of addresses side by side and prints the answers as JSON.

`toolkit.engine.stack_http` sends the text of this file to an interpreter inside the stack, so it uses the standard
library alone.
"""

import http.client
import json
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any

AT_ONCE = 16


def main(requests: list[dict[str, Any]]) -> None:
    """Print one answer for each request, in the same order: status, headers and body, or the error."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        print(json.dumps(list(pool.map(send, requests))))


def send(request: dict[str, Any]) -> dict[str, Any]:
    """Send one request; a status that stands for an error is an answer too."""
    body = None if request["body"] is None else request["body"].encode()
    # Without the proxies that the environment may name: these are services of the stack.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        asked = urllib.request.Request(request["url"], body, request["headers"], method=request["method"])  # noqa: S310
        with opener.open(asked, timeout=request["timeout"]) as response:
            return answer(response.status, response.headers, response.read())
    except urllib.error.HTTPError as error:
        return answer(error.code, error.headers, error.read())
    except urllib.error.URLError as error:
        return failure(str(error.reason))
    except TimeoutError:
        return failure(f"no answer within {request['timeout']:g} s")
    except (http.client.HTTPException, OSError, ValueError) as error:
        return failure(f"{type(error).__name__}: {error}")


def answer(status: int, headers: Any, body: bytes) -> dict[str, Any]:
    """An answer; the names of its headers in lower case."""
    named = {name.lower(): value for name, value in headers.items()}
    return {"status": status, "headers": named, "body": body.decode(errors="replace"), "error": ""}


def failure(why: str) -> dict[str, Any]:
    """What stands for an answer that did not come."""
    return {"status": 0, "headers": {}, "body": "", "error": why}
