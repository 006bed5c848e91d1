"""A source to fill."""

from pathlib import Path

import pytest
from labelled import Labels


@pytest.fixture
def labels(tmp_path: Path) -> Labels:
    return Labels(tmp_path)
