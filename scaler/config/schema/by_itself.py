"""Values inside a spec that are validated by themselves, and not with what is around them."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema


class ByItself:
    """Accept the value as it is, and describe it in the JSON Schema as `model` does.

    The model is asked for when it is needed: a spec without that value pays neither its import nor its validators.
    """

    def __init__(self, model: Callable[[], type[BaseModel]]) -> None:
        self._model = model

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        del source, handler
        return core_schema.any_schema()

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        del schema
        model = self._model()
        model.model_rebuild()
        # Put in one more, a model is described with all that is its own: its title, its keys' notes, its reference.
        return handler(core_schema.definitions_schema(model.__pydantic_core_schema__, []))
