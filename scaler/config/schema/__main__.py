"""Write the JSON Schema file anew: `python -m scaler.config.schema`."""

from __future__ import annotations

import json
from pathlib import Path

from scaler.config.schema import json_schema

if __name__ == "__main__":
    text = json.dumps(json_schema(), indent=2, ensure_ascii=False)
    Path(__file__).with_name("spec.schema.json").write_text(f"{text}\n", encoding="utf-8")
