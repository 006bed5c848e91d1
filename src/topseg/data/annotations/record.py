"""Record: what a conversion has done, one line for each image, so that it can be continued."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from pydantic import TypeAdapter, ValidationError

from topseg.core.errors import InputError
from topseg.core.files import write_text

RECORD: Final = "conversion.jsonl"


@dataclass(frozen=True)
class Done:
    """One image that is converted.

    Attributes:
        name: What it is called.
        split: "train", "val" or "test".
        line: Its line in the list.
        stamp: Sizes and times of the files that it was made from.
        pixels: Pixels of each class.
        ignored: Pixels without a class.
        left_out: Reason -> how many regions were left out for it.
    """

    name: str
    split: str
    line: str
    stamp: list[int]
    pixels: list[int]
    ignored: int
    left_out: dict[str, int]


_LINE: Final = TypeAdapter(Done)


@dataclass
class Record:
    """The file of a conversion.

    Attributes:
        path: The file.
        settings: What decides every mask.
        before: What an earlier run with these settings has done, by name.
        done: What this one has done, in order.
    """

    path: Path
    settings: str
    before: dict[str, Done]
    file: IO[str]
    done: list[Done] = field(default_factory=list)

    @classmethod
    def open(cls, out: Path, settings: dict[str, Any]) -> Record:
        """Begin or continue a conversion.

        Raises:
            InputError: The folder holds something else.
        """
        path = out / RECORD
        first = json.dumps(settings)
        before = {}
        if path.is_file():
            lines = path.read_text("utf-8", errors="replace").splitlines()
            if lines and lines[0] == first:
                before = {done.name: done for done in map(_read, lines[1:]) if done is not None}
        elif any(out.iterdir()):
            raise InputError(f"{out}: holds other files already; choose a new folder")
        text = "".join(f"{line}\n" for line in (first, *(map(_write, before.values()))))
        write_text(path, text)
        return cls(path, first, before, path.open("a", encoding="utf-8", errors="backslashreplace"))

    def __enter__(self) -> Record:
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()

    def add(self, done: Done) -> None:
        """Note one image, at once."""
        self.done.append(done)
        if self.before.get(done.name) != done:
            self.file.write(f"{_write(done)}\n")
            self.file.flush()

    def finish(self) -> None:
        """Write the whole record in order."""
        self.file.close()
        lines = (self.settings, *map(_write, self.done))
        write_text(self.path, "".join(f"{line}\n" for line in lines))


def _write(done: Done) -> str:
    return json.dumps(vars(done))


def _read(line: str) -> Done | None:
    """Read a line; None where it was cut off."""
    try:
        return _LINE.validate_json(line)
    except ValidationError:
        return None
