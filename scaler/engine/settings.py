"""Where the engine is, what it works on, how long it may take, and its environment variables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import field
from datetime import timedelta
from pathlib import Path

from scaler.engine.secrets import default_passphrase
from scaler.records.lock_note import Heard, LockNotes
from scaler.support.time_limit import TimeLimit
from scaler.support.values import dataclass

ENGINE_FOLDER = "engine"
"""The folder of PULUMI_HOME, in the state folder."""

_TOKENS = ("HCLOUD_TOKEN", "DIGITALOCEAN_TOKEN", "DIGITALOCEAN_ACCESS_TOKEN")
_SECRET_VARIABLES = frozenset(_TOKENS) | {f"{name}_FILE" for name in _TOKENS}
"""Our plugin talks to the cloud from our process: the engine needs no credentials, so it gets none."""


_NOT_HANDED_OVER = frozenset(
    {
        "PULUMI_CONTINUE_ON_ERROR",
        "PULUMI_DEBUG_LANGUAGES",
        "PULUMI_DEBUG_PROVIDERS",
        "PULUMI_DIY_BACKEND_LEGACY_LAYOUT",
        "PULUMI_DISABLE_REFRESH_BEFORE_UPDATE",
        "PULUMI_SELF_MANAGED_STATE_LEGACY_LAYOUT",
        "PULUMI_SKIP_CHECKPOINTS",
    }
)
"""Variables that change what the engine does, or where it keeps its state. Scaler decides both."""

_OPTION_PREFIX = "PULUMI_OPTION_"
"""The engine takes any option of its command line from a variable of this name: `PULUMI_OPTION_TARGET`, for example."""


def not_handed_over(environ: Mapping[str, str]) -> list[str]:
    """Return the names of the variables that are set for the engine and that scaler keeps from it, sorted."""
    return sorted(name for name in environ if name in _NOT_HANDED_OVER or name.startswith(_OPTION_PREFIX))


NO_PROXY_FOR_GRPC = "no_grpc_proxy"
"""gRPC for Python sends even connections to 127.0.0.1 through `grpc_proxy`, `https_proxy` or `http_proxy`, unless this
variable, or else `no_proxy`, names the host (gRPC core: src/core/handshaker/http_connect/http_proxy_mapper.cc)."""


def direct_hosts(environ: Mapping[str, str]) -> str:
    """Return the value of NO_PROXY_FOR_GRPC with which scaler and the engine reach each other."""
    named = environ.get(NO_PROXY_FOR_GRPC) or environ.get("no_proxy") or ""
    hosts = [host.strip() for host in named.split(",") if host.strip()]
    return ",".join(dict.fromkeys([*hosts, "127.0.0.1", "localhost"]))


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """The settings of one stack's engine."""

    binary: Path
    version: str
    project: str
    stack: str
    directory: Path
    backend: str
    """The backend's URL; a `file://` one is absolute."""
    home: Path | None
    """PULUMI_HOME, or None for the user's own."""
    environ: Mapping[str, str]
    secrets_provider: str | None = None
    """The provider that the stack's settings file names; None: a passphrase."""
    plugin_environ: Mapping[str, str] = field(default_factory=dict)
    """What points the official plugin at an endpoint and an account; empty for our own plugin."""
    package: str
    """`hcloud` or `digitalocean`."""
    parallel: int = 64
    deadline: timedelta = timedelta(minutes=30)
    limit: TimeLimit = field(default_factory=TimeLimit)
    """The time of the run: an operation that outlasts it by far is interrupted."""
    lock_timeout: timedelta = timedelta(minutes=2)
    steal_after: timedelta | None = None
    """The age from which a lock of another host is removed; None: never."""
    hold: Callable[[int], AbstractContextManager[object]] = nullcontext
    """Entered with each process that takes the stack's lock, before it can have it, and left when it has ended."""
    notes: LockNotes | None = None
    """What the runs do whose engines have the lock or want it."""
    heard: Heard = field(default_factory=Heard)
    """What this process has seen of these notes."""

    def environ_of_engine(self) -> dict[str, str]:
        """Return the environment of every engine process."""
        kept = {*not_handed_over(self.environ), *_SECRET_VARIABLES}
        inherited = {key: value for key, value in self.environ.items() if key not in kept}
        return {
            **default_passphrase(self.environ, self.secrets_provider),
            # A pipeline may lose the stack's settings file: the state says which provider encrypts it.
            "PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER": "true",
            "PULUMI_DIY_BACKEND_DISABLE_CHECKPOINT_BACKUPS": "true",
            **inherited,
            **self.plugin_environ,
            "PULUMI_BACKEND_URL": self.backend,
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            # `scaler.engine.backend` reads gzip but not zstd.
            "PULUMI_DIY_BACKEND_ZSTD": "false",
            # For policy packs, which are gRPC servers and clients in Python.
            NO_PROXY_FOR_GRPC: direct_hosts(self.environ),
        }

    def environ_of_plugin(self, port: int | None) -> dict[str, str]:
        """Return what an operation's environment has besides, so that it uses our plugin on this port."""
        if port is None:
            return {}
        return {
            "PULUMI_DEBUG_PROVIDERS": f"{self.package}:{port}",
            # A create lasts one round trip and every server carries our labels from its first moment,
            # so the cloud is the journal; a save per server would only cost time.
            "PULUMI_SKIP_CHECKPOINTS": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        }
