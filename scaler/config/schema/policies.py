"""`policies`: packs of CrossGuard policies."""

from __future__ import annotations

import os
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, WithJsonSchema

from scaler.config.schema.context import Info
from scaler.config.schema.fields import spec_key, strict_config
from scaler.config.schema.refusals import refusal, shown
from scaler.config.schema.values import TEXT_SCHEMA, Text
from scaler.support.text import named

PACK_LEVELS = ("mandatory", "advisory", "disabled")
"""The enforcement levels that a spec may set. Pulumi's `remediate` is left out: it would change the planned servers."""


def pack_or_path(value: object) -> object:
    """Read a path alone as a pack without settings."""
    return {"path": value} if isinstance(value, str) else value


def _is_pack(value: str, info: Info) -> str:
    path = info.context.project_folder / value
    if path.is_dir():
        if not (path / "PulumiPolicy.yaml").is_file():
            raise refusal(f"names a folder that is no policy pack: {named(value)}", "a pack has a PulumiPolicy.yaml")
    elif not path.is_file():
        raise refusal(f"names what does not exist: {named(value)}", "the path is relative to the project folder")
    elif not os.access(path, os.X_OK):
        raise refusal(f"names a file that may not be executed: {named(value)}", f"run chmod +x {named(value)}")
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

    model_config = strict_config("Policy pack")

    path: Annotated[Text, AfterValidator(_is_pack)] = spec_key("The pack's folder, relative to the project folder.")
    level: Literal["mandatory", "advisory"] | None = spec_key(
        "What a violation does, for all policies of the pack: mandatory refuses the plan, advisory warns. Without it, "
        "as each policy says.",
        default=None,
    )
    config: dict[Text, PolicySettings] = spec_key(
        "Policy by policy: mandatory, advisory, disabled, or a mapping of its settings.", default={}
    )


def show_path_alone(schema: dict[str, Any]) -> None:
    """Allow a path alone in the JSON Schema."""
    schema["items"] = {"anyOf": [TEXT_SCHEMA, schema["items"]]}
