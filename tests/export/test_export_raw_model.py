from __future__ import annotations

import pytest
import torch

from xecgnn.data import Events, Readings
from xecgnn.detector import Detector
from xecgnn.export.raw_model import RawModel
from xecgnn.export.verify import damaged

VARIANTS = [("finegrid", "light"), ("split", "average"), ("split", "bilinear")]


def readings(events: Events) -> tuple[tuple[torch.Tensor, torch.Tensor], Readings]:
    """Damaged events as inputs of a file and as a batch."""
    batch = Readings.of(damaged(events))
    return batch.x.unbind(-1), batch


@pytest.mark.parametrize("normalized", [False, True], ids=["raw", "normalized"])
@pytest.mark.parametrize(("mode", "pooling"), VARIANTS)
def test_gives_what_the_model_gives(
    build, mini: Detector, mini_events: Events, mode: str, pooling: str, normalized: bool
) -> None:
    model = build({"model.outer_mode": mode, "model.token_pooling": pooling}, every_task=True)
    raw = RawModel(model, normalized_input=normalized).double()
    by_id, batch = readings(mini_events[:6])
    inputs = raw.inputs(*(values.double() for values in by_id))
    expected = model(Readings(batch.x.double()))
    assert set(raw.output_names) == set(expected)
    for name, found in zip(raw.output_names, raw(*inputs), strict=True):
        assert torch.allclose(found, expected[name], rtol=1e-6, atol=1e-9), name  # decoding is float32
        assert found.isfinite().all()


def test_normalized_readings_need_not_be_exactly_the_sentinel(build, mini: Detector, mini_events: Events) -> None:
    model = build({"normalization.sentinel_value": -5.1})
    raw = RawModel(model, normalized_input=True)
    (x,) = raw.inputs(*readings(mini_events[:4])[0])
    expected = raw(x)[0]
    assert torch.equal(raw(torch.where(x == x.min(), x.min() * (1 + 1e-7), x))[0], expected)
    assert torch.equal(raw(torch.where(x == x.min(), torch.nan, x))[0], expected)


def test_encoder_alone_gives_the_tokens(build, mini: Detector, mini_events: Events) -> None:
    model = build()
    raw = RawModel(model, encoder_only=True)
    by_id, batch = readings(mini_events[:3])
    assert raw.output_names == ("tokens",)
    assert torch.allclose(raw(*by_id)[0], model.backbone.encoder(model.backbone.inputs(batch)), atol=1e-6)


def test_dead_sensors_are_filled_first(build, build_inpainter, mini: Detector, mini_events: Events) -> None:
    model = build()
    raw = RawModel(model, inpainter=build_inpainter(mini))
    by_id, batch = readings(mini_events[:4])
    filled, _ = raw.inpainter.fill(batch)
    found, expected = raw(*by_id)[0], model(Readings(filled))["angle"]
    assert torch.allclose(found, expected, atol=1e-6)
    assert not torch.allclose(found[3], model(batch)["angle"][3], atol=1e-4)


def test_tasks_can_be_picked(build) -> None:
    model = build(every_task=True)
    raw = RawModel(model, ["energy", "angle"])
    assert raw.units == {"angle": "rad", "angle_sigma": "rad", "energy": "GeV", "energy_sigma": "GeV"}
    with pytest.raises(ValueError, match=f"no task 'angel'; its tasks: {', '.join(model.tasks)}"):
        RawModel(model, ["angel"])
    with pytest.raises(ValueError, match="the encoder alone has no tasks"):
        RawModel(model, ["angle"], encoder_only=True)


def test_inpainters_that_do_not_fit(build, build_inpainter, mini: Detector, meg2: Detector) -> None:
    model = build()
    with pytest.raises(ValueError, match=r"the inpainter is for detector meg2 .*, the network for mini"):
        RawModel(model, inpainter=build_inpainter(meg2))
    with pytest.raises(ValueError, match="an inpainter needs raw readings"):
        RawModel(model, inpainter=build_inpainter(mini), normalized_input=True)
