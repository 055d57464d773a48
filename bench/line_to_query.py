"""Run in a container: print a line, query the log store until it returns the line, and print the seconds in between."""

from __future__ import annotations

import json
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid

PAUSE = 0.02
TIMEOUT = 30.0


def address(store: str, word: str) -> str:
    """The URL of a query for the lines that contain a word."""
    if store == "loki":
        query = urllib.parse.urlencode({"query": f'{{service_name="worker"}} |= "{word}"', "limit": 1})
        return f"http://loki:3100/loki/api/v1/query_range?{query}"
    query = urllib.parse.urlencode({"query": f'"{word}"', "limit": 1})
    return f"http://victorialogs:9428/select/logsql/query?{query}"


def seconds(store: str) -> float:
    """Seconds from a line on the standard output of the container's main process until a query returns it."""
    word = f"bench-{uuid.uuid4().hex}"
    # Loki repeats the query in its response: the word counts only inside a line.
    line = f"line {word} end"
    with open("/proc/1/fd/1", "w", encoding="utf-8") as stdout:  # noqa: PTH123 - a pipe
        print(line, file=stdout, flush=True)
    began = time.monotonic()
    while time.monotonic() - began < TIMEOUT:
        with urllib.request.urlopen(address(store, word), timeout=5) as response:  # noqa: S310 - a URL of the stack
            if line in response.read().decode():
                return time.monotonic() - began
        time.sleep(PAUSE)
    raise TimeoutError(f"{store} does not return the line within {TIMEOUT:g} s")


def main(store: str, lines: int) -> None:
    """Print a JSON list of seconds, one for each line."""
    measured = []
    for _ in range(lines):
        measured.append(seconds(store))
        time.sleep(0.37)  # out of step with whatever polls at a fixed interval
    print(json.dumps(measured))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
