"""A server of remote targets for backups, SFTP and S3, in a container on the network of a host."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.live.backups import Host

IMAGE = "netmon-test/storage"
FIXTURE = Path(__file__).resolve().parents[1] / "fixtures" / "storage"
NAME = "storage"
TARGETS = {"sftp": f"sftp:keeper@{NAME}:/srv/sftp/netmon", "s3": f"s3:http://{NAME}:9000/netmon"}
S3_ID, S3_SECRET = "NETMONDRILL", "a-secret-of-a-drill-0123456789"


@dataclass
class Storage:
    """The server; its clients are hosts on its network, with credentials in their folder of secrets."""

    network: str
    keys: Path

    @property
    def container(self) -> str:
        """The name of the container."""
        return f"{self.network}-storage"

    def docker(self, *args: str, check: bool = True) -> str:
        done = subprocess.run(["docker", *args], capture_output=True, text=True, check=False, timeout=600)
        assert not check or done.returncode == 0, f"{args}: {done.stdout}{done.stderr}"
        return done.stdout

    def start(self) -> None:
        """Start a new server with host keys of its own; the content is in its container."""
        public = (self.keys / "client.pub").read_text().strip()
        self.docker("run", "--detach", f"--name={self.container}", f"--network={self.network}",
                    f"--network-alias={NAME}", f"--env=AUTHORIZED_KEY={public}", f"--env=ROOT_ACCESS_KEY={S3_ID}",
                    f"--env=ROOT_SECRET_KEY={S3_SECRET}",
                    IMAGE)  # fmt: skip
        self.wait()

    def wait(self) -> None:
        """Wait until both servers answer."""
        deadline = time.monotonic() + 30
        answers = "exec 3<>/dev/tcp/127.0.0.1/22 && exec 4<>/dev/tcp/127.0.0.1/9000"
        while self.docker("exec", self.container, "bash", "-c", f"{answers} && echo yes", check=False) != "yes\n":
            assert time.monotonic() < deadline, self.docker("logs", self.container)
            time.sleep(0.3)

    def host_keys(self) -> str:
        """The lines of known_hosts."""
        return "".join(
            f"{NAME} {line}"
            for line in self.docker("exec", self.container, "sh", "-c", "cat /etc/ssh/ssh_host_*_key.pub").splitlines(
                keepends=True
            )
        )

    def admit(self, host: Host) -> None:
        """Give a host the credentials and the host keys, readable in its container."""
        host.secret("ssh_key", (self.keys / "client").read_text())
        host.secret("known_hosts", self.host_keys())
        host.secret("s3_credentials", s3_credentials(S3_SECRET))

    def remove(self) -> None:
        self.docker("rm", "--force", "--volumes", self.container, check=False)


def s3_credentials(secret: str) -> str:
    """The file of credentials for S3."""
    return f"[default]\naws_access_key_id = {S3_ID}\naws_secret_access_key = {secret}\n"


def new_key(folder: Path, name: str) -> None:
    """Create a key pair."""
    generate = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder / name)]
    subprocess.run(generate, check=True, timeout=30)


@contextmanager
def storage(network: str, folder: Path) -> Iterator[Storage]:
    """A server on a network, removed afterwards."""
    build = ["docker", "build", "--quiet", f"--tag={IMAGE}", str(FIXTURE)]
    subprocess.run(build, check=True, capture_output=True, timeout=600)
    new_key(folder, "client")
    made = Storage(network, folder)
    try:
        made.start()
        yield made
    finally:
        made.remove()
