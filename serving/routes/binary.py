"""How OpenAPI describes bodies that are no JSON."""

from __future__ import annotations

from typing import Any

OCTETS = "application/octet-stream"
BINARY: dict[str, Any] = {"content": {OCTETS: {}}}
