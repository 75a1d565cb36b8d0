"""The shape of `stacks/<stack>.yaml`: its keys, their values, and what the values must satisfy.

`spec.schema.json` beside this file is generated from these models (`python -m scaler.config.schema`), so
that an editor and `scaler.spec.load` never disagree. Checks that need more than the value itself
read it from the validation context, a `Surroundings`. A check refuses with a predicate ("must be
…"); `scaler.spec` puts the key and its line before it.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SkipValidation,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
    field_validator,
    model_validator,
)
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import PydanticCustomError

from scaler.hooks.functions import CannotLoadError, load
from scaler.model import Extension, ImageRef
from scaler.model.events import EventName
from scaler.model.ownership import RESERVED, is_host_name
from scaler.support.durations import parse_duration
from scaler.support.entry_points import offered_clouds
from scaler.support.suggestions import nearest

MOST_SERVERS = 10_000
"""The largest number that a spec may name: a slip of the finger should not pass."""

BACKENDS = ("file", "s3", "gs", "azblob", "postgres", "https")
"""The URL schemes of Pulumi's state backends."""

USER_DATA_KIB = {"hetzner": 32, "digitalocean": 64}

_HOST_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_HOST_LABEL_RULE = "must be lower-case letters, digits and hyphens, as in a host name"
_LONGEST_NAME = 63 - len("--") - len("10000")
"""What a host name's 63 characters leave for the stack's and the group's name."""

_HETZNER_WORD = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_HETZNER_PREFIX = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_TAG_KEY = re.compile(r"[A-Za-z0-9_-]+")
_TAG_VALUE = re.compile(r"[A-Za-z0-9_:-]*")
_LONGEST_TAG = 255

_SLUG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

PLACEHOLDERS = ("ip", "name")
"""What is filled in for each server, written in braces."""

_EVENTS = tuple(map(str, EventName))
_EVENT_PATTERNS = tuple(dict.fromkeys(f"{event.partition('.')[0]}.*" for event in _EVENTS))


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a check may know besides the value: where the spec is, and what else it says."""

    stack: str
    folder: Path
    """Where the spec is; documents are named relative to it."""
    project_folder: Path
    """Where commands run, and their scripts are named relative to."""
    cloud: str | None
    """None if the spec names none, or an unknown one."""
    wanted: int = 0
    """The groups' counts together, as far as they are numbers."""
    group: str = ""
    """The group that is being checked."""


Info = ValidationInfo[Surroundings]


def refusal(message: str, fix: str = "", at: tuple[int | str, ...] = ()) -> PydanticCustomError:
    """What a check raises: a predicate, its cure, and where inside the value."""
    return PydanticCustomError("refused", "{message}", {"message": message, "fix": fix, "at": at})


def shown(value: object) -> str:
    """A value as a message quotes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "a mapping"
    text = str(value)
    text = text if len(text) <= 40 else f"{text[:40]}…"
    return text if isinstance(value, int) else f"'{text}'"


# ---------------------------------------------------------------------------------------------
# Values


def _as_typed(value: object) -> str:
    """The text of a scalar; the reader keeps it exactly, also where it looks like a number."""
    if isinstance(value, bool):
        return shown(value)
    if isinstance(value, int | str):
        return str(value)
    if value is None:
        raise refusal("has no value", "give one, or remove the line")
    raise refusal(f"must be a text, not {shown(value)}")


def _not_blank(value: str) -> str:
    if not value.strip():
        raise refusal("must not be empty")
    return value


_TEXT_SCHEMA: dict[str, Any] = {"type": ["string", "number", "boolean"], "pattern": r"\S"}
Text = Annotated[str, BeforeValidator(_as_typed), AfterValidator(_not_blank), WithJsonSchema(_TEXT_SCHEMA)]
Number = Annotated[int, Field(strict=True, ge=0, le=MOST_SERVERS)]
Flag = Annotated[bool, Field(strict=True)]


def _distinct(values: tuple[str, ...]) -> tuple[str, ...]:
    for index, value in enumerate(values):
        if value in values[:index]:
            raise refusal(f"names {shown(value)} a second time", "remove one of them", at=(index,))
    return values


def _some(values: tuple[str, ...]) -> tuple[str, ...]:
    if not values:
        raise refusal("must not be empty", "name at least one")
    return values


def _listed(value: object) -> object:
    return [value] if isinstance(value, bool | int | str) else value


Texts = Annotated[
    tuple[Text, ...],
    AfterValidator(_distinct),
    WithJsonSchema({"type": "array", "items": _TEXT_SCHEMA, "uniqueItems": True}),
]
Choices = Annotated[
    tuple[Text, ...],
    AfterValidator(_distinct),
    AfterValidator(_some),
    BeforeValidator(_listed),
    WithJsonSchema(
        {"anyOf": [_TEXT_SCHEMA, {"type": "array", "items": _TEXT_SCHEMA, "minItems": 1, "uniqueItems": True}]}
    ),
]


def _up_to(most: str) -> BeforeValidator:
    """A duration of more than nothing and at most this."""
    longest = parse_duration(most)

    def check(value: object) -> timedelta:
        if isinstance(value, int) and not isinstance(value, bool):
            raise refusal(f"needs a unit, which {value} has not", f"write {value}s, or such as 10m or 1h30m")
        try:
            duration = parse_duration(_as_typed(value))
        except PydanticCustomError:  # is a ValueError too
            raise
        except ValueError:
            raise refusal(f"must be a duration such as 90s, 10m or 1h30m, not {shown(value)}") from None
        if not timedelta(0) < duration <= longest:
            raise refusal(f"must be more than 0s and at most {most}, not {shown(value)}")
        return duration

    return BeforeValidator(check)


_DURATION_SCHEMA: dict[str, Any] = {
    "type": "string",
    "pattern": "^(?=[0-9])([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$",
}
Duration = Annotated[timedelta, _up_to("24h"), WithJsonSchema(_DURATION_SCHEMA)]
Retention = Annotated[timedelta, _up_to("3650d"), WithJsonSchema(_DURATION_SCHEMA)]


def _image(value: object) -> ImageRef:
    if isinstance(value, dict):
        return _image_by_key(value)
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise refusal(
            "has no value" if value is None else f"must be an image, not {shown(value)}",
            'write {selector: "role=worker"}, {name: …}, an id, or a name of the vendor\'s such as ubuntu-24.04',
        )
    text = _not_blank(str(value))
    if re.fullmatch(r"[1-9][0-9]*", text):
        return ImageRef("id", text)
    if isinstance(value, int):
        raise refusal(f"must be an image's id, not {value}")
    if not _SLUG.fullmatch(text):
        raise refusal(
            f"must be a vendor's image such as ubuntu-24.04, or an id, not {shown(text)}",
            "name a snapshot of your own as {name: …} or {selector: …}",
        )
    return ImageRef("slug", text)


def _image_by_key(value: dict[str, object]) -> ImageRef:
    for key in value:
        if key not in ("selector", "name"):
            raise refusal("is not a known key", nearest(key, ["selector", "name"]), at=(key,))
    if len(value) != 1:
        raise refusal("must have exactly one of the keys selector and name")
    [(key, text)] = value.items()
    try:
        return ImageRef("selector" if key == "selector" else "name", _not_blank(_as_typed(text)))
    except PydanticCustomError as error:
        raise refusal(**{**(error.context or {}), "at": (key,)}) from None


Image = Annotated[
    ImageRef,
    BeforeValidator(_image),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1},
                {"type": "string", "pattern": f"^{_SLUG.pattern}$"},
                {
                    "type": "object",
                    "properties": {"selector": _TEXT_SCHEMA, "name": _TEXT_SCHEMA},
                    "additionalProperties": False,
                    "minProperties": 1,
                    "maxProperties": 1,
                },
            ]
        }
    ),
]


def _endpoint(value: str) -> str:
    url = _split_url(value)
    if value != "embedded" and (url is None or url[0] not in ("http", "https") or not url[1]):
        raise refusal(f"must be embedded or an http(s) URL, not {shown(value)}", nearest(value, ["embedded"]))
    return value


def _backend(value: str) -> str:
    url = _split_url(value)
    if url is None or url[0] not in BACKENDS or "://" not in value:
        scheme = value.partition(":")[0]
        raise refusal(f"must be the URL of a Pulumi backend, not {shown(value)}", nearest(scheme, list(BACKENDS)))
    return value


def _split_url(value: str) -> tuple[str, str] | None:
    """A URL's scheme and host, or None if it is none; never one with credentials in it."""
    try:
        url = urlsplit(value)
        if url.password is not None or (url.username is not None and url.scheme in ("http", "https")):
            raise refusal("must not hold credentials", "keep them in environment variables")
        _ = url.port  # reading it checks it
    except PydanticCustomError:  # is a ValueError too
        raise
    except ValueError:
        return None
    return url.scheme, url.hostname or ""


Endpoint = Annotated[
    Text,
    AfterValidator(_endpoint),
    WithJsonSchema({"type": "string", "pattern": r"^(embedded|https?://[^/?#\s].*)$"}),
]
Backend = Annotated[
    Text,
    AfterValidator(_backend),
    WithJsonSchema({"type": "string", "pattern": f"^({'|'.join(BACKENDS)})://"}),
]


def _url(value: str) -> str:
    """An http(s) URL without credentials. It may hold a secret in any place, so it is not repeated."""
    url = _split_url(value)
    if url is None or url[0] not in ("http", "https") or not url[1]:
        raise refusal("must be an http(s) URL", "write it as https://host/path")
    return value


def _server_url(value: str) -> str:
    for word in re.findall(r"\{([^{}]*)\}", value):
        if word not in PLACEHOLDERS:
            raise refusal(f"has an unknown placeholder {shown(word)}", nearest(word, PLACEHOLDERS))
    _url(value.replace("{ip}", "192.0.2.1").replace("{name}", "server"))
    return value


_URL_SCHEMA = {"type": "string", "pattern": r"^https?://[^/?#\s].*$"}
Url = Annotated[Text, AfterValidator(_url), WithJsonSchema(_URL_SCHEMA)]
ServerUrl = Annotated[Text, AfterValidator(_server_url), WithJsonSchema(_URL_SCHEMA)]

# ---------------------------------------------------------------------------------------------
# Commands


def _word(value: object) -> str:
    if isinstance(value, dict):
        raise refusal("must be a text, not a mapping", 'put a placeholder in quotes: "{ip}"')
    word = _as_typed(value)
    if "\0" in word:
        raise refusal("must not hold a NUL character")
    return word


def _words(value: object) -> object:
    if isinstance(value, str) and value.strip():
        raise refusal(f"must be a list of words, not {shown(value)}", f"write {json.dumps(value.split())}")
    return value


def _command(words: tuple[str, ...], info: Info) -> tuple[str, ...]:
    if not words:
        raise refusal("must not be empty", "name the program, then its arguments")
    program = words[0]
    if not program.strip():
        raise refusal("must not be empty", "name the program", at=(0,))
    if "/" in program and not Path(program).is_absolute():
        _check_script(program, info.context.project_folder)
    return words


def _check_script(program: str, folder: Path) -> None:
    """A program that is named by a relative path is a file of the project, and can be run."""
    if ".." in Path(program).parts:
        raise refusal(
            f"must not lead out of the project folder, as {shown(program)} does", "write an absolute path", at=(0,)
        )
    if not (folder / program).is_file():
        raise refusal(
            f"names a file that does not exist: {program}", "the path is relative to the project folder", at=(0,)
        )
    if not os.access(folder / program, os.X_OK):
        raise refusal(f"names a file that may not be executed: {program}", f"run chmod +x {program}", at=(0,))


_WORD_SCHEMA: dict[str, Any] = {"type": ["string", "number", "boolean"]}
Command = Annotated[
    tuple[Annotated[str, BeforeValidator(_word)], ...],
    AfterValidator(_command),
    BeforeValidator(_words),
    WithJsonSchema({"type": "array", "prefixItems": [_TEXT_SCHEMA], "items": _WORD_SCHEMA, "minItems": 1}),
]

# ---------------------------------------------------------------------------------------------
# Functions of the user's

_REFERENCE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)


def _function(value: object, info: Info) -> Extension:
    reference = _as_typed(value)
    if not _REFERENCE.fullmatch(reference):
        raise refusal(f"must be module:function, not {shown(reference)}")
    try:
        return Extension(reference, load(reference, info.context.project_folder))
    except CannotLoadError as error:
        raise refusal(str(error), error.fix) from None


_FUNCTION_SCHEMA: dict[str, Any] = {"type": "string", "pattern": rf"^{_REFERENCE.pattern}$"}
Function = Annotated[Extension, BeforeValidator(_function), WithJsonSchema(_FUNCTION_SCHEMA)]


def _word_or_function(value: object, check: ValidatorFunctionWrapHandler, info: Info) -> object:
    return _function(value, info) if isinstance(value, str) and ":" in value else check(value)


# A union would tell of a wrong word in pydantic's terms; the wrapped check lets a function through.
ScaleDown = Annotated[
    Literal["newest", "oldest", "billing"],
    WrapValidator(_word_or_function),
    WithJsonSchema({"anyOf": [{"enum": ["newest", "oldest", "billing"], "type": "string"}, _FUNCTION_SCHEMA]}),
]

# ---------------------------------------------------------------------------------------------
# Names and labels


def host_label_problem(name: str) -> str:
    """What is wrong with a stack's or group's name, as a predicate; empty if nothing is."""
    return "" if _HOST_LABEL.fullmatch(name) else f"{_HOST_LABEL_RULE}, not {shown(name)}"


def _group_name(name: str, info: Info) -> str:
    here = info.context
    if problem := host_label_problem(name):
        raise refusal(problem)
    if len(here.stack) + len(name) > _LONGEST_NAME:
        raise refusal(
            f"is too long: the server names {here.stack}-{name}-<n> must fit in 63 characters",
            f"use at most {_LONGEST_NAME} for the stack and the group together",
        )
    return name


GroupName = Annotated[str, AfterValidator(_group_name)]


def _label_key(key: str, info: Info) -> str:
    here = info.context
    if key in RESERVED or (here.cloud == "digitalocean" and key == "scaler"):
        raise refusal("is a label that scaler sets itself", "choose another name")
    if here.cloud == "digitalocean" and not _TAG_KEY.fullmatch(key):
        raise refusal("is no DigitalOcean tag: only letters, digits, _ and - may be in it")
    if here.cloud == "hetzner" and not _is_hetzner_key(key):
        raise refusal(
            "is no Hetzner label: at most 63 letters, digits, - _ and ., the first and last a letter or digit; "
            "before it perhaps a domain and a /"
        )
    return key


def _is_hetzner_key(key: str) -> bool:
    prefix, slash, name = key.rpartition("/")
    if slash and (not _HETZNER_PREFIX.fullmatch(prefix) or prefix == "hetzner.cloud"):
        return False
    return bool(_HETZNER_WORD.fullmatch(name))


def _label_value(value: str, info: Info) -> str:
    here = info.context
    if here.cloud == "digitalocean" and not _TAG_VALUE.fullmatch(value):
        raise refusal(f"must be letters, digits, _ - and : (it becomes a DigitalOcean tag), not {shown(value)}")
    if here.cloud == "hetzner" and value and not _HETZNER_WORD.fullmatch(value):
        raise refusal(
            "must be at most 63 letters, digits, - _ and ., the first and last a letter or digit, "
            f"or empty, not {shown(value)}"
        )
    return value


def _labels(labels: dict[str, str], info: Info) -> dict[str, str]:
    here = info.context
    for key, value in labels.items():
        if here.cloud == "digitalocean" and len(f"{key}:{value}") > _LONGEST_TAG:
            raise refusal(f"is too long: the tag key:value may have {_LONGEST_TAG} characters", at=(key,))
    return labels


LabelKey = Annotated[str, AfterValidator(_label_key)]
LabelValue = Annotated[
    str,
    BeforeValidator(_as_typed),
    AfterValidator(_label_value),
    WithJsonSchema({"type": ["string", "number", "boolean"]}),
]
Labels = Annotated[dict[LabelKey, LabelValue], AfterValidator(_labels)]

# ---------------------------------------------------------------------------------------------
# The file


def _key(description: str, **rest: Any) -> Any:
    return Field(description=description, **rest)


def _exactly_one(*keys: str) -> dict[str, Any]:
    """JSON Schema: one of these keys, and no other of them."""
    return {"oneOf": [{"required": [key]} for key in keys]}


def _check_exactly_one(value: BaseModel, *keys: str) -> None:
    if sum(bool(getattr(value, key)) for key in keys) != 1:
        raise refusal(f"must have exactly one of the keys {', '.join(keys[:-1])} and {keys[-1]}")


class ReadySchema(BaseModel):
    """A check that a server passes when it can do its work."""

    model_config = ConfigDict(
        extra="forbid", title="Readiness", json_schema_extra=_exactly_one("tcp", "http", "command", "function")
    )

    tcp: Annotated[int, Field(strict=True, ge=1, le=65535)] | None = _key(
        "A port that accepts connections.", default=None
    )
    http: ServerUrl | None = _key("A URL that is answered below 400; {ip} and {name} are filled in.", default=None)
    command: Command = _key(
        "A command that ends with 0, in the project folder; {ip} and {name} are filled in.", default=()
    )
    function: Function | None = _key(
        "A function, module:function, that answers None if the server can do its work, else what is wrong.",
        default=None,
    )
    successes: Annotated[int, Field(strict=True, ge=1, le=100)] = _key(
        "How many good readings in a row make a server ready.", default=2
    )

    @model_validator(mode="after")
    def _one_check(self) -> ReadySchema:
        _check_exactly_one(self, "tcp", "http", "command", "function")
        return self


def _none_is_no_check(value: object) -> object:
    if value is None:
        raise refusal("has no value", "give one, or remove the line")
    if isinstance(value, dict):
        return value
    if value != "none":
        raise refusal(f"must be none or a mapping, not {shown(value)}", "write such as {tcp: 22}")
    return None


def _none_for_null(schema: dict[str, Any]) -> None:
    """JSON Schema: what is no check is written `none`."""
    checks = [choice for choice in schema["anyOf"] if choice != {"type": "null"}]
    schema.update({"anyOf": [{"const": "none"}, *checks], "default": "none"})


PACK_LEVELS = ("mandatory", "advisory", "disabled")
"""What a spec may make of a policy. Pulumi's `remediate` is none: it would change what the plan says."""


def _pack(value: object) -> object:
    return {"path": value} if isinstance(value, str) else value


def _is_pack(value: str, info: Info) -> str:
    path = info.context.project_folder / value
    if path.is_dir():
        if not (path / "PulumiPolicy.yaml").is_file():
            raise refusal(f"names a folder that is no policy pack: {value}", "a pack has a PulumiPolicy.yaml")
    elif not path.is_file():
        raise refusal(f"names what does not exist: {value}", "the path is relative to the project folder")
    elif not os.access(path, os.X_OK):
        raise refusal(f"names a file that may not be executed: {value}", f"run chmod +x {value}")
    return value


def _settings(value: object) -> object:
    if value not in PACK_LEVELS and not isinstance(value, dict):
        raise refusal(f"must be {', '.join(PACK_LEVELS)} or a mapping of settings, not {shown(value)}")
    level = value.get("enforcementLevel", PACK_LEVELS[0]) if isinstance(value, dict) else value
    if level not in PACK_LEVELS:
        raise refusal(f"must be one of {', '.join(PACK_LEVELS)}, not {shown(level)}", at=("enforcementLevel",))
    return value


PolicySettings = Annotated[
    Any,
    BeforeValidator(_settings),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": list(PACK_LEVELS)},
                {"type": "object", "properties": {"enforcementLevel": {"enum": list(PACK_LEVELS)}}},
            ]
        }
    ),
]


class PolicyPackSchema(BaseModel):
    """A pack of CrossGuard policies that every plan must pass."""

    model_config = ConfigDict(extra="forbid", title="Policy pack")

    path: Annotated[Text, AfterValidator(_is_pack)] = _key("The pack's folder, relative to the project folder.")
    level: Literal["mandatory", "advisory"] | None = _key(
        "What a violation does, for all policies of the pack: mandatory refuses the plan, advisory warns. Without it, "
        "as each policy says.",
        default=None,
    )
    config: dict[Text, PolicySettings] = _key(
        "Policy by policy: mandatory, advisory, disabled, or a mapping of its settings.", default={}
    )


def _pack_or_path(schema: dict[str, Any]) -> None:
    """JSON Schema: a path alone stands for a pack as it is."""
    schema["items"] = {"anyOf": [_TEXT_SCHEMA, schema["items"]]}


class StopSchema(BaseModel):
    """What happens to a serving server before it is deleted."""

    model_config = ConfigDict(extra="forbid", title="Stop")

    drain: Command = _key(
        "A command per server, in the project folder; {ip} and {name} are filled in. It ends when the server has "
        "finished its work.",
        default=(),
    )
    drain_within: Duration = _key(
        "How long the drain command may take.", default=timedelta(minutes=5), json_schema_extra={"default": "5m"}
    )
    on_drain_failure: Literal["remove", "keep"] = _key(
        "What becomes of a server whose drain fails or does not end.", default="remove"
    )
    shutdown_within: Duration | None = _key(
        "How long an ACPI shutdown may take before the power is cut; without it, there is no shutdown.", default=None
    )


def _amount(value: object) -> Decimal:
    """An amount of money as it was typed: a text here, unless it is a whole number."""
    text = _as_typed(value)
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,4})?", text) or not Decimal(text):
        raise refusal(f"must be an amount of money of more than 0, such as 150 or 99.90, not {shown(value)}")
    return Decimal(text)


Money = Annotated[
    Decimal,
    BeforeValidator(_amount),
    WithJsonSchema({"type": ["number", "string"], "exclusiveMinimum": 0, "pattern": r"^[0-9]{1,9}(\.[0-9]{1,4})?$"}),
]


class BudgetSchema(BaseModel):
    """What the stack may cost."""

    model_config = ConfigDict(extra="forbid", title="Budget")

    per_month: Money = _key("The most for a whole month of all servers, by list prices, in the cloud's currency.")


class NotifySchema(BaseModel):
    """Who is told of events: a URL or a command."""

    model_config = ConfigDict(extra="forbid", title="Notify", json_schema_extra=_exactly_one("url", "command"))

    url: Url | None = _key("Gets one JSON POST per event.", default=None)
    command: Command = _key("Gets the event on standard input; one process per event.", default=())
    events: Choices = _key("Which events: names, or patterns such as server.*.", default=("*",))

    @field_validator("events")
    @classmethod
    def _known(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for index, pattern in enumerate(patterns):
            if not fnmatch.filter(_EVENTS, pattern):
                cure = nearest(pattern, _EVENTS + _EVENT_PATTERNS)
                raise refusal(f"names no event: {shown(pattern)}", cure, at=(index,))
        return patterns

    @model_validator(mode="after")
    def _one_target(self) -> NotifySchema:
        _check_exactly_one(self, "url", "command")
        return self


_HETZNER_ONLY = ("networks", "firewalls", "placement_group", "public_ipv4", "public_ipv6", "keep_paid")
_DIGITALOCEAN_ONLY = ("vpc", "monitoring", "ipv6")

from scaler.config.schema.autoscale import AutoscaleSchema  # noqa: E402 - it uses the values above


class GroupSchema(BaseModel):
    """A set of interchangeable servers."""

    model_config = ConfigDict(
        extra="forbid", title="Group", json_schema_extra={"not": {"required": ["user_data", "user_data_inline"]}}
    )

    count: Number = _key("How many servers are wanted when no number is given.")
    min: Number = _key("The fewest servers that autoscaling may leave.", default=0)
    max: Number | None = _key("The most servers this group may hold.", default=None)
    image: Image = _key(
        "What servers are made from: {selector: …}, the newest available snapshot with these labels (a tag on "
        "DigitalOcean); {name: …}, a snapshot by its name; an image's id; or a vendor's image such as ubuntu-24.04."
    )
    type: Choices = _key("The server type, or several: tried in this order when one has no capacity.")
    location: Choices = _key("The location (DigitalOcean: region), or several, tried in this order.")
    ssh_keys: Texts = _key("Names of SSH keys at the cloud that may log in.", default=())
    user_data_inline: Text | None = _key("The cloud-init document itself.", default=None)
    user_data: Text | None = _key("The cloud-init document: a file, relative to the spec.", default=None)
    labels: Labels = _key(
        "Labels (tags on DigitalOcean) of every server, besides scaler's own.",
        default={},
        json_schema_extra={"propertyNames": {"minLength": 1, "not": {"enum": sorted(RESERVED)}}},
    )
    networks: Texts = _key("Hetzner: names of private networks to join.", default=())
    firewalls: Texts = _key("Hetzner: names of firewalls to apply.", default=())
    placement_group: Text | None = _key("Hetzner: the name of a placement group.", default=None)
    public_ipv4: Flag = _key("Hetzner: whether servers get a public IPv4 address.", default=True)
    public_ipv6: Flag = _key("Hetzner: whether servers get a public IPv6 network.", default=True)
    vpc: Text | None = _key("DigitalOcean: the name of the VPC; without it, the region's default.", default=None)
    monitoring: Flag = _key("DigitalOcean: whether to install the monitoring agent.", default=False)
    ipv6: Flag = _key("DigitalOcean: whether servers get an IPv6 address.", default=False)
    ready: Annotated[ReadySchema | None, BeforeValidator(_none_is_no_check)] = _key(
        "When a server counts as ready; none: when the cloud says running.",
        default=None,
        json_schema_extra=_none_for_null,
    )
    start_within: Duration = _key(
        "How long a server may take to get ready before it counts as hanging.",
        default=timedelta(minutes=10),
        json_schema_extra={"default": "10m"},
    )
    stop: StopSchema = _key(
        "How a serving server is brought to rest before it is deleted.",
        default=StopSchema(),
        json_schema_extra={"default": {}},
    )
    naming: Function | None = _key(
        "A function, module:function, that names new servers; without it, they are <stack>-<group>-<n>.", default=None
    )
    protect: Texts = _key("Names of servers that are never chosen for scale-down.", default=())
    spread: Flag = _key("Whether new servers are spread over the locations, evenly.", default=False)
    scale_down: ScaleDown = _key(
        "Which servers go first when there are too many; billing: those whose paid hour ends soonest; or a function, "
        "module:function, that chooses them.",
        default="newest",
    )
    keep_paid: Flag = _key(
        "Hetzner: whether a server that is not needed any more is powered off, and deleted only shortly before its "
        "paid hour is over, so that it can be taken back. It needs a run at least every few minutes.",
        default=False,
    )
    image_changes: Literal["new"] = _key("Which servers get a changed image: only new ones.", default="new")
    autoscale: AutoscaleSchema | None = _key("How the count follows the load; it needs max.", default=None)

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
            _check_size(len(text.encode()), info.context)
        return text

    @field_validator("user_data")
    @classmethod
    def _content(cls, name: str | None, info: Info) -> str | None:
        """The file's text in place of its name."""
        if name is None:
            return None
        if info.data.get("user_data_inline") is not None:
            raise refusal("cannot be given together with user_data_inline", "remove one of them")
        return _read_user_data(name, info.context)

    @field_validator(*_HETZNER_ONLY, mode="before")
    @classmethod
    def _only_hetzner(cls, value: object, info: Info) -> object:
        return _only_on("hetzner", value, info.context)

    @field_validator(*_DIGITALOCEAN_ONLY, mode="before")
    @classmethod
    def _only_digitalocean(cls, value: object, info: Info) -> object:
        return _only_on("digitalocean", value, info.context)

    @field_validator("ready")
    @classmethod
    def _reachable(cls, ready: ReadySchema | None, info: Info) -> ReadySchema | None:
        addresses = info.data.get("public_ipv4", True) or info.data.get("public_ipv6", True)
        if ready is not None and not addresses and (ready.tcp or "{ip}" in (ready.http or "")):
            raise refusal("needs an address, and servers of this group have no public one", "use a command")
        return ready

    @field_validator("image_changes", mode="before")
    @classmethod
    def _image_changes(cls, value: object) -> object:
        if value == "roll":
            raise refusal("must be new: roll is not supported yet", "remove the line")
        return value

    @field_validator("autoscale")
    @classmethod
    def _bounded(cls, value: AutoscaleSchema | None, info: Info) -> AutoscaleSchema | None:
        if value is not None and "max" in info.data and info.data["max"] is None:
            raise refusal("needs the group's max, so that no number of the load's is too large", "add max to the group")
        for name, metric in value.metrics.items() if value else ():
            if metric.cloud and info.context.cloud == "digitalocean" and not info.data.get("monitoring"):
                raise refusal(
                    "is measured of monitored droplets only",
                    "add monitoring: true to the group",
                    at=("metrics", name, "cloud"),
                )
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


def _only_on(cloud: str, value: object, here: Surroundings) -> object:
    if here.cloud not in (None, cloud):
        raise refusal(f"is for {cloud} only, and this stack is on {here.cloud}", "remove it")
    return value


def _is_inside(path: Path, folder: Path) -> bool:
    """Whether a path stays in a folder, wherever the links on it lead."""
    return path.resolve().is_relative_to(folder.resolve())


def _read_user_data(name: str, here: Surroundings) -> str:
    path = here.folder / name
    try:
        inside = _is_inside(path, here.project_folder)
        content = path.read_bytes() if inside else b""
        text = content.decode()
    except FileNotFoundError:
        raise refusal(f"names a file that does not exist: {name}", "the path is relative to the spec") from None
    except UnicodeDecodeError:
        raise refusal(f"names a file that is not UTF-8 text: {name}") from None
    except (OSError, ValueError) as error:  # ValueError: a character that no file name may have
        reason = getattr(error, "strerror", None) or "no file can have this name"
        raise refusal(f"names a file that cannot be read: {name} ({reason})") from None
    if not inside:
        # What is read goes to the cloud: no spec may send a file of the machine there.
        raise refusal(f"must not lead out of the project folder, as {shown(name)} does", "copy the file into it")
    _check_size(len(content), here)
    return text


def _check_size(size: int, here: Surroundings) -> None:
    most = USER_DATA_KIB.get(here.cloud or "", max(USER_DATA_KIB.values()))
    if size > most * 1024:
        raise refusal(f"is too big: {size} bytes; {here.cloud or 'the cloud'} takes {most} KiB")


def _or_offered(value: object, check: ValidatorFunctionWrapHandler) -> object:
    """A cloud of ours, or one that an installed package offers; editors know only ours."""
    try:
        return check(value)
    except ValidationError:
        if isinstance(value, str) and value in offered_clouds():
            return value
        raise


def _without(cloud: str, keys: tuple[str, ...]) -> dict[str, Any]:
    """JSON Schema: on this cloud, no group has these keys."""
    return {
        "if": {"properties": {"cloud": {"const": cloud}}, "required": ["cloud"]},
        "then": {"properties": {"groups": {"additionalProperties": {"properties": dict.fromkeys(keys, False)}}}},
    }


class SpecSchema(BaseModel):
    """One stack's spec: which servers should exist, and where."""

    model_config = ConfigDict(
        extra="forbid",
        title="scaler stack",
        json_schema_extra={
            "allOf": [_without("digitalocean", _HETZNER_ONLY), _without("hetzner", _DIGITALOCEAN_ONLY)],
        },
    )

    cloud: Annotated[Literal["hetzner", "digitalocean"], WrapValidator(_or_offered)] = _key("Where the servers are.")
    endpoint: Endpoint | None = _key(
        "embedded (a cloud inside scaler, for trying and testing) or an API URL; without it, the vendor's.",
        default=None,
    )
    backend: Backend | None = _key(
        "The URL of the Pulumi backend that keeps the state; without it, PULUMI_BACKEND_URL or file://.scaler/pulumi.",
        default=None,
    )
    plugin: Literal["scaler", "official"] = _key(
        "Who makes the servers: scaler's own provider, or the official one without its guarantees.", default="scaler"
    )
    limit: Number | None = _key(
        "The most servers this stack may hold, all groups together; exactly this many are allowed.", default=None
    )
    budget: BudgetSchema | None = _key(
        "What the stack may cost; a plan that creates servers and comes above it is refused.", default=None
    )
    notify: tuple[NotifySchema, ...] = _key("Who is told of events.", default=())
    policies: tuple[Annotated[PolicyPackSchema, BeforeValidator(_pack)], ...] = _key(
        "Packs of CrossGuard policies that every plan must pass before anything is changed.",
        default=(),
        json_schema_extra=_pack_or_path,
    )
    retention: Retention = _key(
        "How long the records of deleted servers are kept.",
        default=timedelta(days=7),
        json_schema_extra={"default": "7d"},
    )
    # Each group is validated by itself, since its checks need its name.
    groups: Annotated[dict[GroupName, SkipValidation[GroupSchema]], Field(min_length=1)] = _key(
        "The sets of interchangeable servers, by name; most stacks have one.",
        json_schema_extra={"propertyNames": {"pattern": f"^{_HOST_LABEL.pattern}$"}},
    )

    @field_validator("limit")
    @classmethod
    def _holds_all(cls, value: int | None, info: Info) -> int | None:
        here = info.context
        if value is not None and value < here.wanted:
            raise refusal(f"must be at least the groups' counts together ({here.wanted}), not {value}")
        return value


class _Generator(GenerateJsonSchema):
    def field_title_should_be_set(self, schema: Any) -> bool:
        del schema
        return False


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a spec."""
    return {
        "$schema": GenerateJsonSchema.schema_dialect,
        **SpecSchema.model_json_schema(schema_generator=_Generator, mode="validation"),
    }
