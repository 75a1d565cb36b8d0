"""Write `spec.schema.json`: `python -m scaler.config.schema`."""

from __future__ import annotations

from pathlib import Path

from scaler.config.schema.generate import schema_file

if __name__ == "__main__":
    Path(__file__).with_name("spec.schema.json").write_text(schema_file(), encoding="utf-8")
