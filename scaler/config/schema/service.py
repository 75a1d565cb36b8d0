"""`in_service`: the label or tag of servers that are ready and healthy."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ValidationInfo, field_validator, model_validator

from scaler.config.schema.context import Info
from scaler.config.schema.fields import check_one_value, one_of_required, spec_key, strict_config
from scaler.config.schema.labels import check_label
from scaler.config.schema.refusals import refusal, shown
from scaler.config.schema.values import Text
from scaler.model.ownership import Label, decode_tags


class InServiceSchema(BaseModel):
    """What a server carries exactly as long as it is in service."""

    model_config = strict_config("InService", one_of_required("label", "tag"))

    label: Text | None = spec_key("A label, key=value or key; at DigitalOcean the tag key:value or key.", default=None)
    tag: Text | None = spec_key("DigitalOcean: a tag.", default=None)

    @field_validator("label")
    @classmethod
    def _a_label(cls, text: str | None, info: Info) -> str | None:
        if text is not None:
            check_label(*_label(text), info)
        return text

    @field_validator("tag")
    @classmethod
    def _a_tag(cls, text: str | None, info: Info) -> str | None:
        if text is None:
            return None
        if info.context.cloud == "hetzner":
            raise refusal("is for digitalocean only, and this stack is on hetzner", "use label")
        [(key, value)] = decode_tags([text]).items()
        check_label(key, value, info)
        return text

    @model_validator(mode="after")
    def _one(self, _info: ValidationInfo) -> Self:
        check_one_value(self, "label", "tag")
        return self

    @property
    def value(self) -> Label:
        """The label, or the tag as one."""
        if self.tag is not None:
            [label] = decode_tags([self.tag]).items()
            return label
        return _label(self.label or "")


def _label(text: str) -> Label:
    key, _, value = text.partition("=")
    if not key:
        raise refusal(f"must be key=value, not {shown(text)}", 'write such as "lb=web"')
    return key, value
