"""Report: the state of a data set, for people, for programs, and for the next command."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topseg.core.labels import LabelSet
from topseg.data.layouts.layout import Split
from topseg.data.problem import Problem, problem_lines
from topseg.data.remedies import with_settings
from topseg.data.statistics import SplitCounts
from topseg.data.suggestions import suggest


@dataclass
class Report:
    """The state of a data set; ``str(report)`` is for people.

    Attributes:
        labels: Its classes.
        splits: What each split holds, by name.
        problems: Everything found, errors and warnings.
        settings: What to set in the data section to mend what settings can, as ``key=value``.
    """

    labels: LabelSet
    splits: dict[Split, SplitCounts] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    settings: tuple[str, ...] = ()

    @property
    def errors(self) -> list[Problem]:
        """The problems that would stop training or evaluation."""
        return [problem for problem in self.problems if problem.serious]

    @property
    def warnings(self) -> list[Problem]:
        """The problems that would not."""
        return [problem for problem in self.problems if not problem.serious]

    @property
    def seen(self) -> NDArray[np.int64]:
        """(K,) pixels of each class in all splits."""
        zeros = np.zeros(self.labels.num_classes, np.int64)
        return sum((split.pixels for split in self.splits.values()), zeros)

    @property
    def suggestions(self) -> dict[str, str]:
        """Settings of a recipe that suit the training split: ``key=value`` -> why."""
        train = self.splits.get("train")
        return {} if train is None else suggest(train, self.labels.names)

    def text(self, limit: int | None = 10, command: Sequence[str] = ("topseg", "check")) -> str:
        """Write the report.

        Args:
            limit: Lines of each kind of problem; None writes all.
            command: The words that made it; the remedy is the same with more settings.
        """
        lines = [line for name in self.splits for line in self._split_lines(name)]
        for title, problems in (("error", self.errors), ("warning", self.warnings)):
            if problems:
                lines.append(f"{len(problems)} {title}{'s' if len(problems) > 1 else ''}")
                lines += problem_lines(problems, limit)
        if not self.problems:
            lines.append("no problems found")
        if self.settings:
            lines.append(f"to mend it: {with_settings(command, self.settings)}")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.text()

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "errors": len(self.errors),
            "warnings": len(self.warnings),
            "problems": [problem.to_dict() for problem in self.problems],
            "splits": {
                name: split.to_dict(self.labels.names) for name, split in self.splits.items()
            },
            "settings": list(self.settings),
            "suggestions": list(self.suggestions),
        }

    def _split_lines(self, name: Split) -> Iterator[str]:
        split = self.splits[name]
        total = max(1, int(split.pixels.sum()) + split.ignored)
        sizes = dict.fromkeys(filter(None, (split.smallest, split.largest)))
        span = " to ".join(f"{width}x{height}" for height, width in sizes)
        yield f"{name}: {split.images} images" + (f", {span} pixels" if span else ", none readable")
        if not split.pixels.any():
            return
        width = max(5, *(len(label) for label in self.labels.names))
        yield f"  {'class':{width}}  {'pixels':>15}  {'share':>8}  {'images':>8}  {'objects':>8}"
        objects = split.objects.sum(axis=1)
        rows = zip(self.labels.names, split.pixels, split.images_with, objects, strict=True)
        for label, pixels, images, parts in rows:
            share = f"{pixels / total:8.2%}"
            yield f"  {label:{width}}  {pixels:15,}  {share}  {images:8,}  {parts:8,}"
        yield f"  {'-':{width}}  {split.ignored:15,}  {split.ignored / total:8.2%}  (no class)"
        yield ""
