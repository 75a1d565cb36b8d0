"""Labels, by the rules of each cloud."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from scaler.config.schema.context import Info
from scaler.config.schema.refusals import refusal, shown
from scaler.config.schema.values import typed_text
from scaler.model.ownership import RESERVED

_HETZNER_WORD = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_HETZNER_PREFIX = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_TAG_KEY = re.compile(r"[A-Za-z0-9_-]+")
_TAG_VALUE = re.compile(r"[A-Za-z0-9_:-]*")
_LONGEST_TAG = 255


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


def check_label(key: str, value: str, info: Info) -> None:
    """Refuse a label that the cloud, or scaler, does not allow."""
    try:
        _labels({_label_key(key, info): _label_value(value, info)}, info)
    except PydanticCustomError as error:
        # Its place is within a mapping that the spec does not have here.
        raise refusal(**{**(error.context or {}), "at": ()}) from None


LabelKey = Annotated[str, AfterValidator(_label_key)]
LabelValue = Annotated[
    str,
    BeforeValidator(typed_text),
    AfterValidator(_label_value),
    WithJsonSchema({"type": ["string", "number", "boolean"]}),
]
Labels = Annotated[dict[LabelKey, LabelValue], AfterValidator(_labels)]
