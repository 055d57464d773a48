"""The shapes of the JSON that docker prints, limited to the keys that the toolkit reads.

The configuration is that of ``docker compose config --format json``: the Compose specification in its long syntax, with
variables replaced. Containers are those of ``docker container inspect`` (ContainerInspectResponse of the Engine API).
"""

from __future__ import annotations

from typing import Any, Required, TypedDict


class Limits(TypedDict, total=False):
    """``deploy.resources.limits``: memory in bytes, CPU in cores, both as text, and the number of processes."""

    memory: str
    cpus: str | float
    pids: int


class Resources(TypedDict, total=False):
    """``deploy.resources``."""

    limits: Limits


class Deploy(TypedDict, total=False):
    """``deploy`` of a service."""

    replicas: int
    resources: Resources


class Port(TypedDict, total=False):
    """A published port; ``published`` is text and may be a range, or absent where the engine chooses."""

    target: Required[int]
    published: str
    protocol: Required[str]
    host_ip: str


class Mount(TypedDict, total=False):
    """A volume, bind mount or tmpfs of a service; ``source`` is a volume's name or a path of the host."""

    type: Required[str]
    source: str
    target: Required[str]
    read_only: bool
    bind: dict[str, Any]
    tmpfs: dict[str, Any]


class SecretMount(TypedDict, total=False):
    """A secret of a service; ``source`` is the secret's name."""

    source: Required[str]
    target: str


class Build(TypedDict, total=False):
    """``build`` of a service; contexts are absolute paths or URLs."""

    context: str
    dockerfile: str
    args: dict[str, str | None]
    additional_contexts: dict[str, str]


class Service(TypedDict, total=False):
    """A service; keys that are read only by the hardening rules are left out."""

    image: Required[str]
    build: Build
    depends_on: dict[str, Any]
    deploy: Deploy
    environment: dict[str, str | None]
    labels: dict[str, str]
    ports: list[Port]
    profiles: list[str]
    scale: int
    secrets: list[SecretMount]
    user: str
    volumes: list[Mount]


class Configuration(TypedDict, total=False):
    """The merged configuration; networks, volumes and secrets are open, as in the Compose specification."""

    name: Required[str]
    services: Required[dict[str, Service]]
    networks: dict[str, dict[str, Any]]
    volumes: dict[str, dict[str, Any]]
    secrets: dict[str, dict[str, Any]]


class Plugin(TypedDict, total=False):
    """A plugin of the docker client."""

    Name: Required[str]
    Version: str


class Client(TypedDict, total=False):
    """The docker client."""

    Plugins: list[Plugin] | None


class FirewallBackend(TypedDict, total=False):
    """How the engine filters packets; ``Driver`` is ``iptables``, ``nftables`` or one of firewalld."""

    Driver: str


class Info(TypedDict, total=False):
    """``docker info``: the engine, ``ServerVersion`` is empty if it does not answer, and the client.

    ``SecurityOptions`` are ``name=VALUE``, with further pairs after a comma; ``SystemTime`` is RFC 3339.
    """

    ServerVersion: str
    DockerRootDir: str
    MemTotal: int
    MemoryLimit: bool
    CpuCfsQuota: bool
    PidsLimit: bool
    CgroupVersion: str
    Architecture: str
    OSType: str
    SecurityOptions: list[str] | None
    SystemTime: str
    IPv4Forwarding: bool
    FirewallBackend: FirewallBackend | None
    ClientInfo: Client


class HealthCheckRun(TypedDict):
    """One run of a health check; times are RFC 3339 with nanoseconds."""

    Start: str
    End: str
    ExitCode: int
    Output: str


class Health(TypedDict):
    """The result of the container's health check; ``Log`` has the last five runs, oldest first."""

    Status: str
    FailingStreak: int
    Log: list[HealthCheckRun] | None


class State(TypedDict, total=False):
    """The container's state; times are RFC 3339 with nanoseconds, ``0001-01-01T00:00:00Z`` before the first one."""

    Status: Required[str]
    Running: Required[bool]
    Pid: int
    ExitCode: int
    Error: str
    OOMKilled: bool
    StartedAt: str
    FinishedAt: str
    Health: Health


class ContainerConfig(TypedDict, total=False):
    """The configuration of the container; ``Image`` is a name, ``Env`` has lines of ``NAME=value``."""

    Image: Required[str]
    Env: list[str] | None
    Healthcheck: dict[str, Any]
    Labels: Required[dict[str, str]]


class PortBinding(TypedDict):
    """An address of the host that a port is published on."""

    HostIp: str
    HostPort: str


class NetworkSettings(TypedDict, total=False):
    """``Ports`` maps ``port/protocol`` to its bindings; None where the port is exposed and not published."""

    Ports: dict[str, list[PortBinding] | None] | None


class MountPoint(TypedDict, total=False):
    """A mount that the engine made; ``Name`` is that of a volume."""

    Type: Required[str]
    Name: str
    Source: Required[str]
    Destination: Required[str]


class Container(TypedDict, total=False):
    """A container; ``Image`` is the image's id. ``HostConfig`` is open: policy rules read many of its keys."""

    Id: Required[str]
    Name: Required[str]
    Image: Required[str]
    RestartCount: int
    State: Required[State]
    Config: Required[ContainerConfig]
    HostConfig: dict[str, Any]
    NetworkSettings: NetworkSettings
    Mounts: list[MountPoint]
