"""Journals: what people decided or answered, a line of JSON each, kept before they are told so.

A file only ever grows, and is replaced whole, so that none is ever seen in part.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from gestray.errors import UserError
from gestray.store import Folder

Line = TypeVar("Line", bound=BaseModel)


def read_lines(folder: Folder, name: str, kind: type[Line], called: str) -> list[Line]:
    """The lines of one file of a journal, in their order.

    Args:
        kind: what each line is.
        called: what people call it, with its article.

    Raises:
        UserError: a line is none; names file and line.
    """
    found = []
    for number, line in enumerate(folder.read_bytes(name).splitlines(), 1):
        try:
            found.append(kind.model_validate_json(line))
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            raise UserError(
                f"{folder.uri}/{name}: line {number}: {'.'.join(map(str, problem['loc']))}: "
                f"{problem['msg']}; expected {called} as gestray writes it: mend the line or "
                "remove it"
            ) from None
    return found


def write_lines(folder: Folder, name: str, lines: Sequence[BaseModel]) -> None:
    """Write a file of a journal whole; its lines are in the store when this returns."""
    folder.write_bytes("".join(f"{line.model_dump_json()}\n" for line in lines).encode(), name)
