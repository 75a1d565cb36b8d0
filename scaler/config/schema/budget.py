"""`budget`: what the stack may cost."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, WithJsonSchema

from scaler.config.schema.fields import spec_key, strict_config
from scaler.config.schema.refusals import refusal, shown
from scaler.config.schema.values import typed_text


def _amount(value: object) -> Decimal:
    """Read an amount of money. One with a decimal point arrives as a text, since `strict_yaml` keeps what was typed."""
    text = typed_text(value)
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

    model_config = strict_config("Budget")

    per_month: Money = spec_key("The most for a whole month of all servers, by list prices, in the cloud's currency.")
