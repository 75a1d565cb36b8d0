"""What the engine says of the project's files, in scaler's words: what is wrong, and how to correct it. Pure.

Source of the words: pulumi (sdk/go/common/workspace, pkg/cmd/pulumi/stack, pkg/backend/diy).
"""

from __future__ import annotations

import re

_EXPLANATIONS = (
    (
        re.compile(r'CLI version (\S+) does not satisfy the version range "([^"]*)"'),
        r"Pulumi.yaml asks for an engine \2 in `requiredPulumiVersion`, and this one is \1. Change that line, or name "
        r"such an engine with SCALER_ENGINE.",
    ),
    (
        re.compile(r"Stack '[^']*' is missing configuration values? (.*)"),
        r"Pulumi.yaml declares \1 in its `config` without a value. Scaler uses none: remove it there, or give it a "
        r"`value` or a `default`.",
    ),
    (
        re.compile(r"validating stack config: (.*)"),
        r"`config` of Pulumi.yaml does not fit that of the stack's settings file: \1. Correct one; scaler uses none.",
    ),
    (
        re.compile(r"backend \S* ?does not support environments.*"),
        "Pulumi.<stack>.yaml has an `environment`, which only Pulumi Cloud knows. Remove it there.",
    ),
)


def in_our_words(error: str) -> str:
    """Return the engine's error, or the explanation where it is about the project's files."""
    for pattern, words in _EXPLANATIONS:
        if found := pattern.search(error):
            return found.expand(words)
    return error
