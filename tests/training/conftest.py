from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def undrawn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pictures of a run take ten times as long as the run itself: only tests marked `drawn` have them."""
    if not request.node.get_closest_marker("drawn"):
        monkeypatch.setattr("xecgnn.evaluation.report.make", lambda *_: [])
