"""The shape of `stacks/<stack>.yaml`: its keys, their values, and what the values must satisfy.

`spec.schema.json` beside this file is generated from these models (`python -m scaler.config.schema`), so
that an editor and `scaler.config.spec.load` never disagree. The module `stack` has the top level,
`group` the keys of a group; the other modules have the blocks and values that these consist of.

A check refuses a value with a predicate ("must be …"); `scaler.config.problems` puts the key and its
line before it. Checks that need more than the value itself read it from the validation context, a
`SpecContext`.
"""

from scaler.config.schema.group import GroupSchema
from scaler.config.schema.stack import SpecSchema

__all__ = ["GroupSchema", "SpecSchema"]
