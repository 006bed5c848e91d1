"""Numbers: a tensor as JSON has it, lists of numbers, read within bounds.

As Python objects numbers take ten times the room of their text, and to make them takes long. So a
short list becomes an array at once, and the text of a long one goes to a worker as it is.
"""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic_core import from_json

from topseg.core.errors import InputError


@dataclass(frozen=True)
class Numbers:
    """A tensor that is still text.

    Attributes:
        name: Of the tensor, for messages.
        text: JSON: a list of numbers, nested or not.
        shape: Sides that the tensor is to have.
        dtype: Name of the type that the model takes.
    """

    name: str
    text: bytes
    shape: tuple[int, ...]
    dtype: str

    def array(self) -> NDArray[Any]:
        """Read the text.

        Raises:
            InputError: It is no JSON, or not the numbers of such a tensor.
        """
        try:
            values = from_json(self.text, allow_inf_nan=False)
        except ValueError as error:
            raise InputError(f"{self.name}: data: not valid JSON ({error})") from None
        return read_numbers(self.name, values, self.shape, np.dtype(self.dtype))


def read_numbers(
    name: str, values: Any, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> NDArray[Any]:
    """Make an array of numbers in lists, nested or not.

    NumPy sees plain lists of numbers alone: of anything else it would make what takes most memory.

    Args:
        name: Of the tensor, for messages.
        values: What JSON had.
        shape: Sides that the tensor is to have.
        dtype: What the model takes.

    Returns:
        The tensor in the model's type.

    Raises:
        InputError: Anything but numbers that the type can hold, or not as many as the shape says.
    """
    for _ in range(3):  # a tensor has four sides
        if not (isinstance(values, list) and values and isinstance(values[0], list)):
            break
        if set(map(type, values)) != {list} or len(set(map(len, values))) != 1:
            raise InputError(f"{name}: data: rows of unequal length")
        values = list(chain.from_iterable(values))
    whole = dtype.kind in "iu"
    low, high = (np.iinfo(dtype).min, np.iinfo(dtype).max) if whole else (-3.4e38, 3.4e38)
    kinds = {int} if whole else {int, float}
    numbers = None
    if isinstance(values, list) and values and set(map(type, values)) <= kinds:
        with contextlib.suppress(OverflowError):
            numbers = np.array(values, np.int64 if whole else np.float64)
    if numbers is None or not (low <= numbers.min() and numbers.max() <= high):
        kind = f"whole numbers from {low} to {high}" if whole else "numbers"
        raise InputError(f"{name}: data: expected {kind}, or binary data")
    if numbers.size != math.prod(shape):
        raise InputError(
            f"{name}: data: got {numbers.size} numbers, expected {math.prod(shape)} for the "
            f"shape {list(shape)}"
        )
    return numbers.astype(dtype).reshape(shape)
