"""A total and the parts that must add up to it, such as sources found = new + known + rejected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Balance(NamedTuple):
    """An equation of counts.

    Attributes:
        what: the things counted, such as ``sources``.
        verb: what happened to them, such as ``found``.
        parts: counts by name, which add up to ``total`` unless something was lost.
    """

    what: str
    verb: str
    total: int
    parts: Mapping[str, int]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Balance:
        """Return the balance from which ``to_dict`` made a dictionary."""
        parts = {part["name"]: part["count"] for part in values["parts"]}
        return cls(what=values["what"], verb=values["verb"], total=values["total"], parts=parts)

    def to_dict(self) -> dict[str, Any]:
        """Return the balance as JSON values, with ``missing``."""
        parts = [{"name": name, "count": count} for name, count in self.parts.items()]
        return self._asdict() | {"parts": parts, "missing": self.missing}

    @property
    def missing(self) -> int:
        """The part of the total that no part accounts for: 0 unless something was lost."""
        return self.total - sum(self.parts.values())

    @property
    def total_text(self) -> str:
        """The left side of the equation, such as ``1,200 sources found``."""
        return f"{self.total:,} {self.what} {self.verb}"

    @property
    def parts_text(self) -> str:
        """The right side of the equation, such as ``1,000 new + 150 known + 50 rejected``."""
        return " + ".join(f"{count:,} {name}" for name, count in self.parts.items())

    @property
    def verdict(self) -> str:
        """Whether the equation holds, as Markdown."""
        return (
            f"**does not balance, off by {self.missing:,}**"
            if self.missing
            else "nothing is missing"
        )
