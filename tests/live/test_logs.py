"""Log lines from the output of a container to the log store."""

from __future__ import annotations

from tests.live.logstore import lines, writer
from tests.live.stack import Stack, until

HOSTILE = r"""
import sys, time
out = sys.stdout.buffer
out.write(b'before\n')
out.write(bytes(range(256)).replace(b'\n', b'') + b'\n')
out.write(b'{"message": "half an obj\n')
out.write(b'{"message": {"nested": [1, null]}, "level": 7, "trace_id": 12, "service": null}\n')
out.write(b'[1, 2]\n')
out.write(b'\n')
out.write(b'x' * 40_000 + b'y\n')
out.write(b'z' * 5_000_000 + b'\n')
out.write(b'{"message": "after", "level": "error", "trace_id": "not one"}\n')
out.flush()
time.sleep(60)
"""

PYTHON = """\
Traceback (most recent call last):
  File "a.py", line 1, in <module>
    main()
ValueError: broken

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "a.py", line 3, in <module>
    raise Refused from error
shop.errors.Refused"""

JAVA = """\
java.lang.IllegalStateException: broken
\tat org.example.Main.run(Main.java:7)
\t... 12 more
Caused by: java.io.IOException: "gone"
\tat org.example.Disk.read(Disk.java:9)"""

GO = """\
panic: broken

goroutine 1 [running]:
main.(*disk).read(0xc00012, {0x1, 0x2})
\t/src/disk.go:9 +0x1d
main.main()
\t/src/main.go:7 +0x2b

goroutine 7 [select]:
main.watch()
\t/src/watch.go:3 +0x11
created by main.main in goroutine 1
\t/src/main.go:5 +0x1f"""


def test_malformed_lines_do_not_affect_other_lines(stack: Stack) -> None:
    """Binary, malformed, empty and huge lines are collected as far as possible, and later lines arrive."""
    with writer(stack, HOSTILE) as service:
        texts = until(lambda: found if "after" in (found := lines(stack, service)) else None, 20, "the last line")
    assert "before" in texts
    assert '{"message": "half an obj' in texts
    assert "[1, 2]" in texts
    assert "x" * 40_000 + "y" in texts, "a line that the engine has split must be joined"


def test_a_stack_trace_is_one_record(stack: Stack) -> None:
    """A multi-line record, separate from the lines before and after it."""
    written = ["starting", PYTHON, "between", JAVA, "between the others", GO, "stopping"]
    with writer(stack, f"import time; print(*{written!r}, sep='\\n', flush=True); time.sleep(60)") as service:
        until(lambda: "stopping" in lines(stack, service), 20, "the last line")
        assert sorted(lines(stack, service)) == sorted(written)


def test_lines_of_another_project_are_not_collected(stack: Stack) -> None:
    other = Stack(stack.root, f"{stack.name}-elsewhere")
    image = stack.container("worker")["Config"]["Image"]
    name = f"{other.name}-writer"
    stack.docker("rm", "--force", name)
    stack.docker(
        "run", "--detach", "--name", name, "--label", f"com.docker.compose.project={other.name}",
        "--label", "com.docker.compose.service=writer-elsewhere",
        "--log-opt", "labels=com.docker.compose.project,com.docker.compose.service",
        "--entrypoint", "echo", image, "from elsewhere",
    )  # fmt: skip
    try:
        with writer(stack, "print('ours', flush=True); import time; time.sleep(60)") as service:
            until(lambda: lines(stack, service) == ["ours"], 20, "our own line")
        assert lines(stack, "writer-elsewhere") == []
    finally:
        stack.docker("rm", "--force", name)


def test_kafka_logs_to_standard_output_only(stack: Stack) -> None:
    """By default the image writes log files that nothing deletes (images/kafka/contract.yml)."""
    kafka = stack.container("kafka")["Id"]
    assert "Kafka Server started" in stack.docker("logs", kafka)
    assert stack.docker("exec", kafka, "sh", "-c", "find /opt/kafka/logs -type f 2>/dev/null || true").split() == []
