"""What a run found: every round of every series, and the medians and ratios made of them."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

import attrs

from tests.bench.tasks import Key

if TYPE_CHECKING:
    from typing_extensions import Self

    from tests.bench.tasks import Figures


@attrs.frozen
class Series:
    """One figure of one series: ``Series(Key("call", "posthog_client"), "p50")``."""

    key: Key
    figure: str


@attrs.define
class Results:
    """All rounds of a run.

    Attributes:
        rounds: For each key the figures of each round that succeeded, by the round's number.
        problems: For each key that has none, why.
    """

    rounds: dict[Key, dict[int, Figures]] = attrs.field(factory=dict)
    problems: dict[Key, str] = attrs.field(factory=dict)

    def add(self, key: Key, number: int, figures: Figures) -> None:
        """Keep what round `number` found."""
        self.rounds.setdefault(key, {})[number] = figures

    def fail(self, key: Key, why: str) -> None:
        """Keep why there is nothing."""
        self.problems[key] = why

    def median(self, key: Key, figure: str) -> float | None:
        """Give the median over the rounds, ``None`` if there is nothing."""
        values = [
            figures[figure] for figures in self.rounds.get(key, {}).values() if figure in figures
        ]
        return statistics.median(values) if values else None

    def ratio(self, ours: Series, theirs: Series) -> float | None:
        """Give the median of the rounds' ratios, ours to theirs.

        The two were measured a few seconds apart in each round,
        so that a ratio within a round is spared the drift of the machine between rounds.
        """
        mine, other = self.rounds.get(ours.key, {}), self.rounds.get(theirs.key, {})
        ratios = [
            mine[number][ours.figure] / other[number][theirs.figure]
            for number in sorted(mine.keys() & other.keys())
            if ours.figure in mine[number] and other[number].get(theirs.figure)
        ]
        return statistics.median(ratios) if ratios else None

    def as_json(self) -> list[dict[str, object]]:
        """Give everything in plain types."""
        return [
            {
                **attrs.asdict(key),
                "rounds": [dict(self.rounds.get(key, {})[number]) for number in self._numbers(key)],
                "problem": self.problems.get(key),
            }
            for key in [*self.rounds, *(key for key in self.problems if key not in self.rounds)]
        ]

    @classmethod
    def from_json(cls, series: list[dict[str, Any]]) -> Self:
        """Read back what :meth:`as_json` gave."""
        results = cls()
        for each in series:
            key = Key(each["section"], each["subject"], each["variant"])
            for number, figures in enumerate(each["rounds"]):
                results.add(key, number, figures)
            if each["problem"] is not None:
                results.fail(key, each["problem"])
        return results

    def _numbers(self, key: Key) -> list[int]:
        return sorted(self.rounds.get(key, {}))
