"""What people read of times."""

import pytest

from topseg.core.terminal import duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0123, "12 ms"),
        (0.25, "0.25 s"),
        (9.96, "10 s"),
        (12.3, "12 s"),
        (200, "3 min"),
        (5400, "1.5 h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
