"""A Griffe extension: docstrings name other objects by roles, which Markdown shows as code."""

from __future__ import annotations

import re
from typing import Any

import griffe


class Roles(griffe.Extension):
    """Turn ``:func:`name` `` into ``name`` as code, where a docstring is read."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of an object that was just collected."""
        if obj.docstring:
            obj.docstring.value = re.sub(
                r":(?:func|class|meth|data|mod|attr):`~?([^`]+)`", r"`\1`", obj.docstring.value
            )
