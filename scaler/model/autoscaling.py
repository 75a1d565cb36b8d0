"""The `autoscale` block of a group as values: the metrics, and the rules that turn them into a count."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from datetime import timedelta
from typing import Any, Literal

from scaler.support.values import dataclass

# ---------------------------------------------------------------------------------------------
# Metrics


@dataclass(frozen=True, kw_only=True)
class PrometheusSource:
    """A PromQL query that gives one number; with `window`, the `aggregate` of a range query over it."""

    url: str
    query: str
    window: timedelta | None = None
    step: timedelta = timedelta(seconds=15)
    aggregate: Literal["last", "mean", "max", "min"] = "mean"
    token_env: str | None = None
    """The environment variable that holds a bearer token."""


@dataclass(frozen=True, kw_only=True)
class RedisAccess:
    """How to reach a Redis server or cluster."""

    url: str
    username: str | None = None
    password_env: str | None = None
    cluster: bool = False
    """Whether the server is a node of a Redis Cluster."""


RedisSystem = Literal["sidekiq", "celery", "rq", "bullmq", "dramatiq", "arq", "asynq", "laravel"]


@dataclass(frozen=True, kw_only=True)
class RedisSource(RedisAccess):
    """The entries of keys, or the waiting jobs of a system's queues: their number, or the age of the oldest."""

    key: str | None = None
    keys: tuple[str, ...] = ()
    """Several keys; the sum, or the oldest, counts."""
    match: str | None = None
    """All keys that match this glob pattern."""
    system: RedisSystem | None = None
    """The queue system whose keys are read; then `queues` and `prefix` count, and none of the others."""
    queues: tuple[str, ...] = ()
    prefix: str | None = None
    measure: Literal["length", "age"] = "length"
    """`age` is in seconds."""
    group: str | None = None
    """The consumer group of a stream: what it has not acknowledged counts."""
    due: Literal["s", "ms", "us", "ns"] | float | None = None
    """Count the entries of a sorted set whose score is not after now, in this unit, or in so many units a second."""
    field: str | None = None
    """The field of a hash that holds the number or the time."""
    age_field: str = "pushedAt"
    """Where an entry, as JSON, holds its time: a name or a JSON pointer. With `entry`, also the field of a hash."""
    unit: Literal["s", "ms", "us", "ns"] | None = None
    """The unit of times that are numbers; None: by their size."""
    entry: str | None = None
    """Where the records of a list of ids are: a key with `{id}`, or a hash whose fields are the ids."""
    oldest: Literal["first", "last"] = "first"
    """Which end of a list holds the oldest entry."""
    missing: Literal["zero", "error"] = "zero"
    """Whether a key that does not exist counts as empty."""


@dataclass(frozen=True, kw_only=True)
class HorizonSource(RedisAccess):
    """Laravel Horizon's queues: waiting jobs, or the seconds until they are done."""

    queues: tuple[str, ...] = ("default",)
    measure: Literal["wait", "pending"] = "wait"
    prefix: str = "laravel_horizon:"
    """Horizon's own keys: `horizon.prefix`."""
    queue_prefix: str = "laravel_database_"
    """The queues' keys: `database.redis.options.prefix`."""
    connection: str = "redis"
    """The queue connection's name in `config/queue.php`."""
    runtime: timedelta = timedelta(seconds=1)
    """How long a job takes, while Horizon has measured none."""


@dataclass(frozen=True, kw_only=True)
class SqlSource:
    """The number that a query on a database returns, and its time in a second column."""

    query: str
    url: str | None = None
    url_env: str | None = None
    """The environment variable that holds the URL, with a password perhaps."""
    password_env: str | None = None


@dataclass(frozen=True, kw_only=True)
class RabbitmqSource:
    """The messages of RabbitMQ's queues: their sum."""

    url: str
    """Where the management API is."""
    queues: tuple[str, ...]
    vhost: str = "/"
    messages: Literal["all", "ready", "unacknowledged"] = "all"
    username: str = "guest"
    password_env: str | None = None


@dataclass(frozen=True, kw_only=True)
class SqsSource:
    """The messages of an Amazon SQS queue, or the age of the oldest in seconds."""

    queue_url: str
    measure: Literal["all", "visible", "in_flight", "age"] = "all"
    region: str | None = None
    """None: the one in the queue's URL."""
    endpoint: str | None = None
    """Another service that speaks SQS."""


@dataclass(frozen=True, kw_only=True)
class GithubApp:
    """The credentials of a GitHub App's installation."""

    id: str
    installation: int
    key_env: str
    """The environment variable that holds the app's private key."""


@dataclass(frozen=True, kw_only=True)
class GithubSource:
    """The jobs of GitHub Actions that runners with these labels can take."""

    repositories: tuple[str, ...] = ()
    """As `owner/name`; without any, all of the organization."""
    organization: str | None = None
    labels: tuple[str, ...] = ()
    """The labels of the runners, besides `self-hosted`."""
    jobs: Literal["all", "queued", "running"] = "all"
    token_env: str | None = None
    app: GithubApp | None = None
    api: str = "https://api.github.com"


@dataclass(frozen=True, kw_only=True)
class ForgeJobs:
    """The jobs of a forge's Actions that runners with these labels can take."""

    url: str
    token_env: str
    labels: tuple[str, ...]
    repository: str | None = None
    organization: str | None = None
    """Without it and without a repository: the whole instance."""
    jobs: Literal["all", "queued", "running"] = "all"


@dataclass(frozen=True, kw_only=True)
class ForgejoSource(ForgeJobs):
    """The jobs of Forgejo Actions."""


@dataclass(frozen=True, kw_only=True)
class GiteaSource(ForgeJobs):
    """The jobs of Gitea Actions."""


@dataclass(frozen=True, kw_only=True)
class GitlabSource:
    """The jobs of GitLab CI that runners with these tags can take."""

    token_env: str
    projects: tuple[str, ...] = ()
    """With their whole paths; without any, all of the group."""
    group: str | None = None
    tags: tuple[str, ...] = ()
    untagged: bool = False
    """Whether jobs without tags count."""
    jobs: Literal["all", "queued", "running"] = "all"
    url: str = "https://gitlab.com"


@dataclass(frozen=True, kw_only=True)
class WoodpeckerSource:
    """The workflows that agents of Woodpecker with these labels can take."""

    url: str
    token_env: str
    labels: Mapping[str, str] = field(default_factory=dict)
    jobs: Literal["all", "queued", "running"] = "all"

    def __hash__(self) -> int:
        return hash((self.url, self.token_env, tuple(sorted(self.labels.items())), self.jobs))


@dataclass(frozen=True, kw_only=True)
class HttpSource:
    """A number in a JSON document at a URL."""

    url: str
    pointer: str = ""
    """A JSON pointer (RFC 6901); empty: the document itself is the number."""
    time_pointer: str | None = None
    """Where the document has the time of its number: seconds since 1970, or RFC 3339."""
    token_env: str | None = None


@dataclass(frozen=True, kw_only=True)
class CommandSource:
    """A number, or a JSON document that holds one, on the standard output of a program."""

    command: tuple[str, ...]
    pointer: str = ""
    time_pointer: str | None = None


@dataclass(frozen=True, kw_only=True)
class CloudSource:
    """What the cloud measures of the running servers of the group: their mean, in percent of one server."""

    measure: Literal["cpu"] = "cpu"


@dataclass(frozen=True, kw_only=True)
class FixedSource:
    """Always the same number."""

    value: float


Source = (
    PrometheusSource
    | RedisSource
    | HorizonSource
    | SqlSource
    | RabbitmqSource
    | SqsSource
    | GithubSource
    | GitlabSource
    | ForgejoSource
    | GiteaSource
    | WoodpeckerSource
    | HttpSource
    | CommandSource
    | CloudSource
    | FixedSource
)


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A number that rules refer to by its name, and the limits within which it is valid."""

    name: str
    source: Source
    timeout: timedelta = timedelta(seconds=5)
    max_age: timedelta = timedelta(minutes=5)
    """An older number is stale."""
    highest: float = 1e9
    """A larger number is absurd."""
    distrust_zero: timedelta = timedelta(hours=1)
    """How long after a failure zeros are ignored: a source that has restarted often counts from 0."""


# ---------------------------------------------------------------------------------------------
# Rules


@dataclass(frozen=True, kw_only=True)
class Target:
    """Keep a metric, the average over the servers, at `value`: ceil(ready * metric / value)."""

    metric: str
    value: float
    tolerance: float = 0.1
    """The dead band: no change while the metric is at most this share away from `value`."""

    @property
    def name(self) -> str:
        return f"target {self.metric}"


@dataclass(frozen=True, kw_only=True)
class Learned:
    """The jobs that one server does per second, learned from a metric that counts finished jobs."""

    metric: str
    initial: float | None = None


@dataclass(frozen=True, kw_only=True)
class Backlog:
    """Keep so many servers that each has at most `per_server` jobs, or that all jobs are done `within`."""

    metric: str
    """The number of waiting jobs."""
    per_server: float | None = None
    within: timedelta | None = None
    throughput: float | Learned | None = None
    """Jobs per second and server; with `within`."""
    tolerance: float = 0.0

    @property
    def name(self) -> str:
        return f"backlog {self.metric}"


@dataclass(frozen=True, kw_only=True)
class Wait:
    """Keep a waiting time, in seconds, below `within`: ceil(ready * metric / within)."""

    metric: str
    within: timedelta
    tolerance: float = 0.1

    @property
    def name(self) -> str:
        return f"wait {self.metric}"


@dataclass(frozen=True)
class Threshold:
    """A row of a steps table: from this value of the metric on, this count or this change of the count."""

    start: float
    count: int


@dataclass(frozen=True, kw_only=True)
class Steps:
    """Set the count, or change it, by a table of the metric's values."""

    metric: str
    steps: tuple[Threshold, ...]
    """By rising `start`, the first from 0."""
    relative: bool = False
    """Whether the steps are changes."""

    @property
    def name(self) -> str:
        return f"steps {self.metric}"


@dataclass(frozen=True, kw_only=True)
class Window:
    """Other bounds for this long, from each moment of a cron expression on."""

    cron: str
    length: timedelta
    min: int | None = None
    max: int | None = None


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Bounds that depend on the time of day."""

    timezone: str
    windows: tuple[Window, ...]

    @property
    def name(self) -> str:
        return "schedule"


Rule = Target | Backlog | Wait | Steps | Schedule
MeasuredRule = Target | Backlog | Wait | Steps


@dataclass(frozen=True, kw_only=True)
class Direction:
    """How fast the count may go up, or down."""

    stabilise: timedelta = timedelta(0)
    """For this long every decision must ask for the change; the smallest change asked for is made."""
    cooldown: timedelta = timedelta(0)
    """The least time after a change: for up after a change upwards, for down after any change."""
    step: int | None = None
    """The most servers to add, or remove, at once."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """How the count of a group follows its load."""

    metrics: Mapping[str, Metric] = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()
    function: Callable[[Any], object] | None = None
    """(`decide.Load`) → the count, or None for no opinion; `str` gives its name."""
    up: Direction = Direction()
    down: Direction = Direction(stabilise=timedelta(minutes=5), cooldown=timedelta(minutes=5))
    on_error: Literal["hold", "max"] = "hold"
