"""Ranges: the kinds of numbers that settings take, each by one name in every section."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

Positive = Annotated[float, Field(gt=0)]
Factor = Annotated[float, Field(ge=0)]
Probability = Annotated[float, Field(ge=0, le=1)]
Share = Annotated[float, Field(gt=0, le=1)]
"""A part of a whole, or all of it."""
Fraction = Annotated[float, Field(ge=0, lt=1)]
"""A part of a whole, or nothing of it."""
Natural = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
Byte = Annotated[int, Field(ge=0, le=255)]
