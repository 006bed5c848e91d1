"""Names: which class a source's names become, by rules that are printed before anything is written.

The rules, the first that fits: the user's own (``old=new``); the format's names for "no class";
the same name; the same but for case, spaces, ``-`` and ``_``. A name that no rule knows is left
out: what it labels is not painted.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from topseg.core.errors import InputError, did_you_mean
from topseg.core.labels import STANDARD_SETS, LabelSet, default_palette
from topseg.data.annotations.source import IGNORED, UNPAINTED, Source
from topseg.data.classes import label_set, unprintable
from topseg.data.config import DataConfig

IGNORE: Final = "ignore"
BACKGROUND: Final = "background"


@dataclass(frozen=True)
class Rule:
    """What becomes of one name.

    Attributes:
        name: The source's.
        target: A class, "ignore", or None where the name is left out.
        why: By which rule.
    """

    name: str
    target: str | None
    why: str


@dataclass(frozen=True)
class Matching:
    """What becomes of every name of a source.

    Attributes:
        labels: The classes.
        rules: One for each of the source's names.
        rest: Class of pixels that no label covers, or "ignore".
    """

    labels: LabelSet
    rules: tuple[Rule, ...]
    rest: str

    def value(self, target: str | None) -> int:
        """Return the value in a mask for a class, "ignore" or None."""
        if target is None:
            return UNPAINTED
        return self.labels.ignore_index if target == IGNORE else self.labels.names.index(target)

    @functools.cached_property
    def table(self) -> NDArray[np.int64]:
        """The (65536,) table from a name's number to a mask's value."""
        table = np.full(65536, UNPAINTED, np.int64)
        table[: len(self.rules)] = [self.value(rule.target) for rule in self.rules]
        table[IGNORED] = self.labels.ignore_index
        return table

    def lines(self) -> Iterator[str]:
        """Write the rules for people."""
        width = max(6, *(len(rule.name) for rule in self.rules))
        targets = [self._number(rule.target) for rule in self.rules]
        wide = max(6, *map(len, targets))
        yield f"{'name':{width}}  {'class':{wide}}  rule"
        for rule, target in zip(self.rules, targets, strict=True):
            yield f"{rule.name:{width}}  {target:{wide}}  {rule.why}".rstrip()
        yield f"pixels without a label: {self._number(self.rest)}"

    def _number(self, target: str | None) -> str:
        if target is None:
            return "left out"
        return IGNORE if target == IGNORE else f"{self.labels.names.index(target)} {target}"


def match_names(
    source: Source,
    classes: Sequence[str] = (),
    rename: Sequence[str] = (),
    rest: str | None = None,
    usual_rest: str = BACKGROUND,
) -> Matching:
    """Find the class of every name.

    Args:
        source: The names, and the classes that its format prescribes, if it does.
        classes: The classes that are wanted, or one file or published set with them; none: the
            format's, or else the source's names.
        rename: The user's rules, ``old=new``; new may be "ignore".
        rest: Class of pixels without a label, or "ignore"; None: the class "background" where the
            classes have one, ``usual_rest`` where no classes are given, else "ignore".
        usual_rest: "background" or "ignore".

    Raises:
        InputError: No name is left, a rule names something that is not there, or the classes are
            not what they should be.
    """
    own = _read_rules(rename, source.names)
    wanted = _wanted(classes) or source.classes
    if wanted is not None:
        names = wanted.names
    else:
        names = _own_classes(source, own)
        if rest is None and usual_rest == BACKGROUND and not _named(BACKGROUND, names):
            names = (BACKGROUND, *names)
        if rest not in (None, IGNORE, *names):
            names = (str(rest), *names)
    if not names:
        raise InputError("no class is left; give some by --classes, or fewer --rename ...=ignore")
    if (strange := unprintable(names)) is not None:
        old = "OLD" if strange else ""
        raise InputError(
            f"got a class {strange!a}, expected a name that can be printed; give it another by "
            f"--rename {old}=NEW"
        )
    rest = _rest(rest, names)
    rules = tuple(_rule(name, names, own, source.ignored) for name in source.names)
    if not any(rule.target not in (None, IGNORE) for rule in rules):
        raise InputError(
            f"none of the source's names is a class: got {_listed(source.names)}, expected some of "
            f"{_listed(names)}; map them by --rename OLD=NEW"
        )
    return Matching(wanted or LabelSet(names, _palette(source, names, rules)), rules, rest)


def _own_classes(source: Source, own: dict[str, str]) -> tuple[str, ...]:
    """Return the classes that follow from the source's names and the user's rules."""
    kept = (name for name in source.names if name not in source.ignored or name in own)
    targets = (own.get(name, name) for name in kept)
    return tuple(dict.fromkeys(target for target in targets if target != IGNORE))


def _rest(rest: str | None, names: tuple[str, ...]) -> str:
    if rest is None:
        return _named(BACKGROUND, names) or IGNORE
    if rest not in (IGNORE, *names):
        raise InputError(f"--rest: no class '{rest}'{did_you_mean(rest, (IGNORE, *names))}")
    return rest


def _wanted(classes: Sequence[str]) -> LabelSet | None:
    """Return the classes that the user gives: names, a file of names, or a published set."""
    if not classes:
        return None
    one = classes[0]
    if len(classes) == 1 and (one in STANDARD_SETS or Path(one).is_file()):
        return label_set(DataConfig(root=".", classes=one))
    return label_set(DataConfig(classes=tuple(classes)))


def _read_rules(rename: Sequence[str], names: tuple[str, ...]) -> dict[str, str]:
    rules = {}
    for text in rename:
        old, equals, new = text.rpartition("=")
        if not equals or not new:
            raise InputError(f"--rename: got '{text}', expected OLD=NEW, or OLD=ignore")
        if old not in names:
            raise InputError(f"--rename: the source has no '{old}'{did_you_mean(old, names)}")
        rules[old] = new
    return rules


def _rule(name: str, names: tuple[str, ...], own: dict[str, str], ignored: frozenset[str]) -> Rule:
    if name in own:
        target = own[name]
        if target not in (IGNORE, *names):
            raise InputError(
                f"--rename: {name}={target}: no such class{did_you_mean(target, names)}"
            )
        return Rule(name, target, "--rename")
    if name in names:
        return Rule(name, name, "same name")
    if name in ignored:
        return Rule(name, IGNORE, "no class in this format")
    if found := _named(name, names):
        return Rule(name, found, "same but for case, space, - and _")
    return Rule(name, None, "")


def _named(name: str, names: tuple[str, ...]) -> str | None:
    """Return the class of a name, its spelling left aside."""
    return next((known for known in names if _plain(known) == _plain(name)), None)


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name).casefold()


def _palette(
    source: Source, names: tuple[str, ...], rules: tuple[Rule, ...]
) -> tuple[tuple[int, int, int], ...]:
    """Return the source's own colours, and others by rule for the classes that have none."""
    own = dict(zip(source.names, source.palette or (), strict=False))
    colors = {rule.target: own[rule.name] for rule in reversed(rules) if rule.name in own}
    free = iter(default_palette(2 * len(names) + 256))
    taken = set(colors.values())
    found = []
    for name in names:
        color = colors.get(name)
        if color is None and name == BACKGROUND and (0, 0, 0) not in taken:
            color = (0, 0, 0)
        if color is None:
            color = next(other for other in free if other not in taken)
        taken.add(color)
        found.append(color)
    return tuple(found)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
