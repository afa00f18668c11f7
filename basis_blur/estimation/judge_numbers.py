from typing import Any

NUMBERS: dict[str, dict[str, Any]] = {}
