from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from xecgnn.data import Events
from xecgnn.export import verify as verify_module
from xecgnn.export.raw_model import RawModel
from xecgnn.export.verify import damaged, verify
from xecgnn.names import INVALID_LIMIT

Change = Callable[[NDArray], NDArray]


class Session:
    """Stands for onnxruntime: the network itself, and whatever `change` does to its first output."""

    def __init__(self, raw: RawModel, change: Change) -> None:
        self.raw, self.change, self.batches = raw, change, set()

    def run(self, names: list[str], inputs: dict[str, NDArray]) -> list[NDArray]:
        with torch.inference_mode():
            first, *others = (out.numpy() for out in self.raw(*(torch.from_numpy(v) for v in inputs.values())))
        self.batches.add(len(first))
        return [self.change(first), *others]


@pytest.fixture
def check(build, mini_events: Events, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """check(change, model=None): the table of a file whose first output is changed."""

    def call(change: Change = lambda values: values, model: torch.nn.Module | None = None) -> str:
        raw = RawModel(model or build(every_task=True))
        session = Session(raw, change)
        monkeypatch.setattr(verify_module, "open_session", lambda path: session)
        table = verify("model.onnx", raw, mini_events[:16])
        assert {1, 2, 7} <= session.batches
        return table

    return call


def test_table_has_every_output(check) -> None:
    lines = check().splitlines()
    assert [line.split()[0] for line in lines[3:]][:4] == ["angle", "angle_sigma", "energy", "energy_sigma"]
    assert len(lines) == 3 + 12
    assert all(float(cell) <= 1e-4 for line in lines[3:] for cell in line.split()[-3:])


@pytest.mark.parametrize(
    "change",
    [
        lambda values: values + 1e-3,
        lambda values: np.where(np.arange(values.shape[1]) == 1, values + 1e-3, values),
        lambda values: values * np.float32(np.nan),
        lambda values: np.where(np.arange(len(values))[:, None] == 6, np.nan, values),  # in batches of 7 alone
        np.zeros_like,
    ],
    ids=["shifted", "second value", "nan", "batch of 7", "zero"],
)
def test_differences_are_found_and_named(check, change: Change) -> None:
    with pytest.raises(ValueError, match=r"^angle: the file differs from the network by more than 0.0001\nLargest"):
        check(change)


def test_constant_outputs(check, build) -> None:
    model = build({"model.spot.window": 0})  # without a guess that differs from event to event
    torch.nn.init.zeros_(model.heads["angle"][-1].weight)
    torch.nn.init.zeros_(model.heads["angle"][-1].bias)
    assert check(model=model).splitlines()[-1].split()[-3:] == ["0.0e+00"] * 3  # always zero, as it should be
    with pytest.raises(ValueError, match=r"^angle: the file differs"):
        check(lambda values: values + np.float32(1e-30), model)
    model.heads["angle"][-1].bias.data[:] = 2.0
    check(lambda values: values * np.float32(1 + 2e-7), model)  # rounding
    with pytest.raises(ValueError, match=r"^angle: the file differs"):
        check(lambda values: values * np.float32(1 + 2e-6), model)


def test_damaged_events_have_every_kind_of_bad_reading(mini_events: Events) -> None:
    events = damaged(mini_events)
    npho, time = events.npho, events.relative_time
    assert np.array_equal(npho[::2], mini_events.npho[::2])
    assert not (np.abs(npho[1]) < INVALID_LIMIT).any()
    assert np.isnan(npho[3:]).any()
    assert (np.abs(npho[3::2]) > INVALID_LIMIT).any(1).all()
    light = np.abs(npho[3::2]) < INVALID_LIMIT
    before = np.abs(mini_events.relative_time[3::2]) < INVALID_LIMIT
    assert (light & before & ~(np.abs(time[3::2]) < INVALID_LIMIT)).any()


def test_one_event_has_no_spread(build, mini_events: Events) -> None:
    with pytest.raises(ValueError, match="at least two events, found 1"):
        verify("model.onnx", RawModel(build()), mini_events[:1])
