"""Run in a container: print a line, ask the log store until it knows it, and print the seconds that it took."""

from __future__ import annotations

import json
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid

PAUSE = 0.02
GIVE_UP = 30.0


def address(store: str, word: str) -> str:
    """Where the store answers with the lines that contain a word."""
    if store == "loki":
        query = urllib.parse.urlencode({"query": f'{{service_name="worker"}} |= "{word}"', "limit": 1})
        return f"http://loki:3100/loki/api/v1/query_range?{query}"
    query = urllib.parse.urlencode({"query": f'"{word}"', "limit": 1})
    return f"http://victorialogs:9428/select/logsql/query?{query}"


def seconds(store: str) -> float:
    """From writing one line to the output of the container's main process until a query returns it."""
    word = f"bench-{uuid.uuid4().hex}"
    # Loki repeats the query in its answer: the word counts only inside a line.
    line = f"line {word} end"
    with open("/proc/1/fd/1", "w", encoding="utf-8") as stdout:  # noqa: PTH123 - a pipe
        print(line, file=stdout, flush=True)
    began = time.monotonic()
    while time.monotonic() - began < GIVE_UP:
        with urllib.request.urlopen(address(store, word), timeout=5) as answer:  # noqa: S310 - the stack's own
            if line in answer.read().decode():
                return time.monotonic() - began
        time.sleep(PAUSE)
    raise TimeoutError(f"{store} has not got the line after {GIVE_UP:g} s")


def main(store: str, lines: int) -> None:
    """Print a JSON list of seconds, one for each line."""
    measured = []
    for _ in range(lines):
        measured.append(seconds(store))
        time.sleep(0.37)  # against the rhythm of whoever reads every so often
    print(json.dumps(measured))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
