from __future__ import annotations

from collections.abc import Iterator

import pytest

from xecgnn.evaluation import artifacts

DRAWING = [f"xecgnn.evaluation.{module}.make" for module in ("report", "sensors")]


@pytest.fixture(autouse=True, scope="module")
def undrawn() -> Iterator[None]:
    """The pictures of a run take ten times as long as the run itself: only tests marked `drawn` have them."""
    with pytest.MonkeyPatch.context() as patch:
        for name in DRAWING:
            patch.setattr(name, lambda *_: [])
        yield


@pytest.fixture(autouse=True)
def drawn(request: pytest.FixtureRequest, undrawn: None, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.node.get_closest_marker("drawn"):
        for name in DRAWING:
            monkeypatch.setattr(name, artifacts.make)
