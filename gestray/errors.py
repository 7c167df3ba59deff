"""Errors addressed to the person who can fix them.

`UserError` is what gestray raises when the fix lies outside its code: a config
key, a file, a missing extra. The command line prints it without a traceback.
Broken invariants of gestray itself stay `assert`s and ordinary exceptions.
"""

from __future__ import annotations


class UserError(ValueError):
    """What was found and where, what was expected, and what to do about it."""


class BadInput(UserError):
    """A recording cannot be read as what it claims to be; the take is quarantined.

    Args:
        file: the file, relative to the corpus root, or the object's URI.
        field: the part of the file at fault, such as ``poses`` or ``tier words``.
        found: what the file holds.
        expected: what it should hold.
    """

    def __init__(self, file: str, field: str, found: str, expected: str) -> None:
        super().__init__(f"{file}: {field}: found {found}, expected {expected}")
        self.file = file
        self.field = field
        self.found = found
        self.expected = expected

    def __reduce__(self) -> tuple:
        return type(self), (self.file, self.field, self.found, self.expected)


def shorten(text: str) -> str:
    """`text` as an error can quote it: at most 40 characters."""
    return text if len(text) <= 40 else f"{text[:37]}..."
