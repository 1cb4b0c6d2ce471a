from __future__ import annotations

import pytest

from xecgnn.detector import Detector, load_detector


@pytest.fixture(scope="session")
def mini() -> Detector:
    return load_detector("mini")


@pytest.fixture(scope="session")
def meg2() -> Detector:
    return load_detector("meg2")
