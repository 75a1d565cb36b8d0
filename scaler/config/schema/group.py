"""`groups`: the keys of one group."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, field_validator

from scaler.config.schema.by_itself import ByItself
from scaler.config.schema.context import Info, SpecContext
from scaler.config.schema.fields import spec_key, strict_config
from scaler.config.schema.functions import Function, ScaleDown
from scaler.config.schema.images import Image
from scaler.config.schema.labels import Labels
from scaler.config.schema.readiness import CheckSchema, HealthySchema, ReadySchema, check_or_none, show_none
from scaler.config.schema.refusals import refusal, shown
from scaler.config.schema.rolling import RollSchema
from scaler.config.schema.service import InServiceSchema
from scaler.config.schema.stopping import StopSchema
from scaler.config.schema.user_data import check_document, read_user_data
from scaler.config.schema.values import Choices, Duration, Flag, Lines, Number, Retention, Text, Texts, given_guard
from scaler.model import PLACED_TOGETHER
from scaler.model.ownership import RESERVED, is_host_name
from scaler.support.durations import format_duration

if TYPE_CHECKING:
    from scaler.config.schema.autoscale.block import AutoscaleSchema

HETZNER_ONLY = ("networks", "firewalls", "placement_group", "public_ipv4", "public_ipv6", "keep_paid")
DIGITALOCEAN_ONLY = ("vpc", "monitoring", "ipv6")


def autoscale_schema() -> type[AutoscaleSchema]:
    """Return the schema of a group's `autoscale`, which is a third of all of it."""
    from scaler.config.schema.autoscale.block import AutoscaleSchema

    return AutoscaleSchema


class GroupSchema(BaseModel):
    """A set of interchangeable servers."""

    model_config = strict_config("Group", {"not": {"required": ["user_data", "user_data_inline"]}})

    count: Number = spec_key("How many servers are wanted when no number is given.")
    min: Number = spec_key("The fewest servers that autoscaling may leave.", default=0)
    max: Number | None = spec_key("The most servers this group may hold.", default=None)
    image: Image = spec_key(
        "What servers are made from: {selector: …}, the newest available snapshot with these labels (a tag on "
        "DigitalOcean); {name: …}, a snapshot by its name; an image's id; or a vendor's image such as ubuntu-24.04."
    )
    type: Choices = spec_key("The server type, or several: tried in this order when one has no capacity.")
    location: Choices = spec_key("The location (DigitalOcean: region), or several, tried in this order.")
    ssh_keys: Texts = spec_key("Names of SSH keys at the cloud that may log in.", default=())
    user_data_inline: Lines | None = spec_key("The cloud-init document itself.", default=None)
    user_data: Lines | None = spec_key("The cloud-init document: a file, relative to the spec.", default=None)
    labels: Labels = spec_key(
        "Labels (tags on DigitalOcean) of every server, besides scaler's own.",
        default={},
        json_schema_extra={"propertyNames": {"minLength": 1, "not": {"enum": sorted(RESERVED)}}},
    )
    networks: Texts = spec_key("Hetzner: names of private networks to join.", default=())
    firewalls: Texts = spec_key("Hetzner: names of firewalls to apply.", default=())
    placement_group: Text | None = spec_key("Hetzner: the name of a placement group.", default=None)
    public_ipv4: Flag = spec_key("Hetzner: whether servers get a public IPv4 address.", default=True)
    public_ipv6: Flag = spec_key("Hetzner: whether servers get a public IPv6 network.", default=True)
    vpc: Text | None = spec_key("DigitalOcean: the name of the VPC; without it, the region's default.", default=None)
    monitoring: Flag = spec_key("DigitalOcean: whether to install the monitoring agent.", default=False)
    ipv6: Flag = spec_key("DigitalOcean: whether servers get an IPv6 address.", default=False)
    ready: Annotated[ReadySchema | None, BeforeValidator(check_or_none)] = spec_key(
        "When a server counts as ready; none: when the cloud says running.",
        default=None,
        json_schema_extra=show_none,
    )
    start_within: Duration = spec_key(
        "How long a server may take to get ready before it counts as hanging.",
        default=timedelta(minutes=10),
        json_schema_extra={"default": "10m"},
    )
    healthy: Annotated[HealthySchema | None, BeforeValidator(check_or_none)] = spec_key(
        "How servers in service are checked, and replaced when they are unhealthy; none: not at all.",
        default=None,
        json_schema_extra=show_none,
    )
    in_service: InServiceSchema | None = spec_key(
        "A label (a tag on DigitalOcean) that a server carries exactly while it is ready and healthy, for load "
        "balancers whose targets are labelled.",
        default=None,
    )
    stop: StopSchema = spec_key(
        "How a serving server is stopped before it is deleted.",
        default=StopSchema(),
        json_schema_extra={"default": {}},
    )
    naming: Function | None = spec_key(
        "A function, module:function, that names new servers; without it, they are <stack>-<group>-<n>.", default=None
    )
    lifetime: Retention | None = spec_key(
        "How old a server may get: an older one counts as outdated. Without it, age is no reason.", default=None
    )
    protect: Texts = spec_key("Names of servers that are never chosen for scale-down.", default=())
    spread: Flag = spec_key("Whether new servers are spread over the locations, evenly.", default=False)
    scale_down: ScaleDown = spec_key(
        "Which servers go first when there are too many; billing: those whose paid hour ends soonest; or a function, "
        "module:function, that chooses them.",
        default="newest",
    )
    keep_paid: Flag = spec_key(
        "Hetzner: whether a server that is not needed any more is powered off, and deleted only shortly before its "
        "paid hour is over, so that it can be taken back. It needs a run at least every few minutes.",
        default=False,
    )
    image_changes: Literal["new", "roll"] = spec_key(
        "Which servers get a changed image, type or user data: only new ones; or all, since `autoscale`, and `ensure` "
        "without numbers, roll it out.",
        default="new",
    )
    roll: RollSchema = spec_key(
        "How outdated servers are replaced, and when `autoscale` may begin with some of them.",
        default=RollSchema(),
        json_schema_extra={"default": {}},
    )
    autoscale: Annotated[Any, ByItself(autoscale_schema)] | None = spec_key(
        "How the count follows the load; it needs max.", default=None
    )

    @field_validator("max", mode="before")
    @classmethod
    def _max_has_a_value(cls, value: object) -> object:
        return given_guard(value)

    @field_validator("min")
    @classmethod
    def _at_most_count(cls, value: int, info: Info) -> int:
        if value > info.data.get("count", value):
            raise refusal(f"must be at most count ({info.data['count']}), not {value}")
        return value

    @field_validator("max")
    @classmethod
    def _at_least_count(cls, value: int | None, info: Info) -> int | None:
        for key in ("count", "min"):
            if value is not None and value < info.data.get(key, 0):
                raise refusal(f"must be at least {key} ({info.data[key]}), not {value}")
        return value

    @field_validator("user_data_inline")
    @classmethod
    def _fits(cls, text: str | None, info: Info) -> str | None:
        if text is not None:
            check_document(text, info.context)
        return text

    @field_validator("user_data")
    @classmethod
    def _content(cls, name: str | None, info: Info) -> str | None:
        """Replace the file's name by its content."""
        if name is None:
            return None
        if info.data.get("user_data_inline") is not None:
            raise refusal("cannot be given together with user_data_inline", "remove one of them")
        return read_user_data(name, info.context)

    @field_validator(*HETZNER_ONLY, mode="before")
    @classmethod
    def _only_hetzner(cls, value: object, info: Info) -> object:
        return _only_on("hetzner", value, info.context)

    @field_validator(*DIGITALOCEAN_ONLY, mode="before")
    @classmethod
    def _only_digitalocean(cls, value: object, info: Info) -> object:
        return _only_on("digitalocean", value, info.context)

    @field_validator("placement_group")
    @classmethod
    def _holds_count(cls, name: str | None, info: Info) -> str | None:
        if name is not None and info.data.get("count", 0) > PLACED_TOGETHER:
            raise refusal(
                f"cannot have all {info.data['count']} servers: a placement group has at most {PLACED_TOGETHER}",
                "use several groups, each with a placement group of its own",
            )
        return name

    @field_validator("public_ipv6")
    @classmethod
    def _has_an_interface(cls, public_ipv6: bool, info: Info) -> bool:
        """Refuse what Hetzner refuses: no interface at all, or a firewall where there is no public one."""
        if not public_ipv6 and not info.data.get("public_ipv4", True):
            if not info.data.get("networks", True):
                raise refusal("cannot be false with public_ipv4, without a private network", "add a network")
            if info.data.get("firewalls"):
                raise refusal("cannot be false with public_ipv4: firewalls need a public address", "remove firewalls")
        return public_ipv6

    @field_validator("ready", "healthy", "stop")
    @classmethod
    def _private_address(cls, value: CheckSchema | StopSchema | None, info: Info) -> CheckSchema | StopSchema | None:
        """Refuse a private address where there is none; every droplet has one."""
        if info.context.cloud == "hetzner" and not info.data.get("networks", True) and "{private_ip}" in repr(value):
            raise refusal("uses {private_ip}, and servers of this group have no private network", "add networks to it")
        return value

    @field_validator("lifetime")
    @classmethod
    def _longer_than_a_start(cls, value: timedelta | None, info: Info) -> timedelta | None:
        start = info.data.get("start_within")
        if value is not None and start is not None and value <= start:
            raise refusal(f"must be longer than start_within ({format_duration(start)})")
        return value

    @field_validator("in_service")
    @classmethod
    def _not_always_on(cls, value: InServiceSchema | None, info: Info) -> InServiceSchema | None:
        if value is not None and value.value[0] in info.data.get("labels", {}):
            raise refusal(f"sets {shown(value.value[0])}, which labels sets for all servers", "remove it from labels")
        return value

    @field_validator("autoscale")
    @classmethod
    def _bounded(cls, value: object, info: Info) -> object:
        if value is not None and "max" in info.data and info.data["max"] is None:
            raise refusal("needs the group's max, so that no number of the load's is too large", "add max to the group")
        return value

    @field_validator("protect")
    @classmethod
    def _of_this_group(cls, names: tuple[str, ...], info: Info) -> tuple[str, ...]:
        here = info.context
        start = f"{here.stack}-{here.group}-"
        named = info.data.get("naming") is not None
        for index, name in enumerate(names):
            if named and is_host_name(name):
                continue
            if not re.fullmatch(rf"{re.escape(start)}[1-9][0-9]*", name):
                raise refusal(f"must be a server of this group, such as {start}1, not {shown(name)}", at=(index,))
        return names


def _only_on(cloud: str, value: object, here: SpecContext) -> object:
    if here.cloud not in (None, cloud):
        raise refusal(f"is for {cloud} only, and this stack is on {here.cloud}", "remove it")
    return value
