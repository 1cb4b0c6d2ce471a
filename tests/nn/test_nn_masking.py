from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from xecgnn.nn import Masker, MaskingConfig, NormalizationConfig, Normalizer
from xecgnn.nn.masking import OCTAVES, face_patches, octaves

BATCH = 6
PATTERNS = ["random", "patch"]


def readings(detector, batch=BATCH) -> torch.Tensor:
    """Raw readings, half of them below the time threshold; of the last two events one sensor is valid, and none."""
    torch.manual_seed(1)
    x = torch.rand(batch, detector.num_sensors, 2) * torch.tensor([200.0, 2e-7])
    x[torch.rand(x.shape[:2]) < 0.15] = 1e10
    x[-2:] = float("nan")
    x[-2, detector.faces["inner"].sensor_ids[7]] = 50.0
    return x


def copies(x: torch.Tensor, number: int) -> torch.Tensor:
    """The first event, many times."""
    return x[:1].repeat(number, 1, 1)


def draw(detector, x, seed=0, dead_lists=(), **settings) -> tuple[torch.Tensor, torch.Tensor]:
    """Masked and valid sensors (B, S)."""
    validity = Normalizer(NormalizationConfig()).validity(x)
    masker = Masker(detector, MaskingConfig(**settings), dead_lists)
    masked = masker(x, validity, torch.Generator().manual_seed(seed))
    assert masked.shape == x.shape[:2]
    return masked, validity[0]


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("extra", [{}, {"flat_npho": True, "time": {"mask_ratio_scale": 3.0}}], ids=["", "weighted"])
@pytest.mark.parametrize("ratio", [0.004, 0.3, 0.6, 0.996])
def test_exact_number_of_valid_sensors(mini, pattern, extra, ratio):
    masked, valid = draw(mini, readings(mini), mask_ratio=ratio, pattern=pattern, **extra)
    assert not (masked & ~valid).any()
    assert masked.sum(1).tolist() == [round(ratio * n) for n in valid.sum(1).tolist()]
    assert valid.sum(1).tolist()[-2:] == [1, 0]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_ratio_between_two_bounds(mini, pattern):
    x = copies(readings(mini), 400)
    masked, valid = draw(mini, x, mask_ratio=(0.2, 0.4), pattern=pattern)
    share = masked.sum(1) / valid.sum(1)
    assert 0.195 < share.min() < 0.21
    assert 0.39 < share.max() < 0.405
    assert abs(share.mean() - 0.3) < 5 * 0.2 / np.sqrt(12 * 400)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_seed_decides_and_neighbours_in_the_batch_do_not(mini, pattern):
    x, settings = readings(mini), {"pattern": pattern, "flat_npho": True, "time": {"mask_ratio_scale": 2.0}}
    first, _ = draw(mini, x, **settings)
    assert torch.equal(draw(mini, x, **settings)[0], first)
    other = x.clone()
    other[1:3] = x[[0, 5]]
    changed, _ = draw(mini, other, **settings)
    assert torch.equal(changed[[0, 3, 4, 5]], first[[0, 3, 4, 5]])
    assert not torch.equal(changed[1:3], first[1:3])
    assert not torch.equal(draw(mini, x, seed=1, **settings)[0], first)
    masked, _ = draw(mini, copies(x, 2), **settings)
    assert not torch.equal(masked[0], masked[1])


def first_choices(mini, events=20_000, **settings) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Which sensor is masked if it is only one, in many copies of an event: (S,) frequencies; and its readings."""
    x = readings(mini)
    first = mini.faces["top"].sensor_ids[:4]
    x[0, first, 0] = torch.tensor([150e3, 100e3, 20.0, -5.0])  # from the first octave to the last
    masked, valid = draw(mini, copies(x, events), seed=1, mask_ratio=1.2 / 212, **settings)
    assert (masked.sum(1) == 1).all()
    return masked.float().mean(0), x[0, :, 0], valid[0]


def assert_frequencies(found: torch.Tensor, expected: torch.Tensor, events=20_000) -> None:
    sigma = (expected * (1 - expected) / events).sqrt()
    assert ((found - expected).abs() <= 4.5 * sigma).all()


def test_time_scale_is_the_factor_of_the_chance(mini):
    found, npho, valid = first_choices(mini, pattern="random", time={"mask_ratio_scale": 3.0})
    weight = torch.where(npho >= 100, 3.0, 1.0) * valid
    assert 20 < (weight == 3).sum() < 150
    assert_frequencies(found, weight / weight.sum())


def test_flat_npho_gives_each_octave_the_same_chance(mini):
    found, npho, valid = first_choices(mini, pattern="random", flat_npho=True)
    bins = octaves(npho[None], valid[None])[0]
    top = npho[valid].max()
    for sensor in valid.nonzero().flatten().tolist():
        below = np.log2(top / npho[sensor]) if npho[sensor] > 0 else OCTAVES
        assert bins[sensor] == min(int(below), OCTAVES - 1)
    filled = bins[valid].bincount(minlength=OCTAVES)
    assert (filled > 0).sum() >= 3
    chance = torch.zeros(OCTAVES).index_add(0, bins, found)
    assert_frequencies(chance, (filled > 0) / (filled > 0).sum())
    weight = valid / filled[bins].clamp(min=1)
    assert_frequencies(found, weight / weight.sum())


def test_patches_weigh_as_their_mean_sensor(mini):
    settings = {"pattern": "patch", "patch_size": 3, "time": {"mask_ratio_scale": 4.0}}
    found, npho, valid = first_choices(mini, **settings)
    patch = Masker(mini, MaskingConfig(**settings)).patch
    number = torch.zeros(int(patch.max()) + 1).index_add(0, patch, valid.float())
    total = torch.zeros_like(number).index_add(0, patch, torch.where(npho >= 100, 4.0, 1.0) * valid)
    weight = torch.where(number > 0, total / number.clamp(min=1), 0)
    chance = torch.zeros_like(number).index_add(0, patch, found)
    assert_frequencies(chance, weight / weight.sum())


def test_only_one_patch_is_cut(mini):
    """All sensors of a patch are masked, or none; but for one patch, cut at random."""
    x = copies(readings(mini), 300)
    masked, valid = draw(mini, x, mask_ratio=0.5, pattern="patch")
    patch = Masker(mini, MaskingConfig(pattern="patch")).patch
    sums = torch.zeros(2, len(masked), int(patch.max()) + 1)
    hidden, usable = sums.index_add(2, patch, torch.stack([masked, valid]).float())
    cut = (hidden > 0) & (hidden < usable)
    assert cut.sum(1).max() == 1
    inner = patch == 0  # a full patch of the inner face: when it is the one that is cut, every sensor can be left out
    events = cut[:, 0]
    assert events.sum() > 5
    assert (~masked[events][:, inner & valid[0]]).any(0).all()


@pytest.mark.parametrize("name", ["mini", "meg2"])
@pytest.mark.parametrize("size", [1, 3, 4])
def test_patches_are_blocks_of_neighbours(request, name, size):
    detector = request.getfixturevalue(name)
    for face in detector.faces.values():
        patch = face_patches(face, size)
        assert np.array_equal(np.unique(patch), np.arange(patch.max() + 1))
        source, target = face.edge_index
        inside = patch[source] == patch[target]
        for number in range(patch.max() + 1):  # what touches hangs together: grow from one sensor of the patch
            members = patch == number
            reached = np.zeros(len(face), bool)
            reached[np.flatnonzero(members)[0]] = True
            for _ in range(members.sum()):
                reached[target[inside & reached[source]]] = True
            assert np.array_equal(reached, members), (face.name, number)
    inner = detector.faces["inner"]
    rows, cols = inner.shape
    grid = face_patches(inner, size).reshape(rows, cols)
    assert len(np.unique(grid[:size, :size])) == 1
    assert np.bincount(grid.ravel()).max() == size**2
    assert grid.max() + 1 == -(-rows // size) * -(-cols // size)


def test_dense_block_is_cut_like_the_lattice_around_it(meg2):
    """Patches of 4 x 4 large cells of the outer face; the centre of a dense sensor decides where it belongs."""
    face = meg2.faces["outer"]
    patch = face_patches(face, 4)
    assert patch.max() + 1 == 6 * 3
    place = {}
    for number, (row0, row1, col0, col1) in zip(patch, face.cells, strict=True):
        place.setdefault(number, set()).add((int((row0 + row1) / 2 // 12), int((col0 + col1) / 2 // 20)))
    assert all(len(where) == 1 for where in place.values())


def test_dead_lists_mask_exactly_their_valid_sensors(mini):
    x = readings(mini)
    lists = [np.array([0, 5, 100, 162, 211]), np.array([3])]
    settings = {"dead_channels": ["a.txt", "b.txt"], "dead_channel_fraction": 1.0}
    ids = torch.arange(mini.num_sensors)
    seen = set()
    for seed in range(5):
        masked, valid = draw(mini, x, seed, lists, **settings)
        for event in range(BATCH):
            expected = [torch.isin(ids, torch.as_tensor(listed)) & valid[event] for listed in lists]
            matches = [i for i, mask in enumerate(expected) if torch.equal(masked[event], mask)]
            assert matches
            seen |= set(matches) if len(matches) == 1 else set()
    assert seen == {0, 1}


def test_share_of_events_with_a_dead_list(mini):
    x = copies(readings(mini), 2000)
    settings = {"dead_channels": ["a.txt"], "dead_channel_fraction": 0.3, "mask_ratio": 0.5}
    masked, valid = draw(mini, x, 0, [np.arange(6)], **settings)
    few = masked.sum(1) <= 6
    assert abs(few.float().mean() - 0.3) < 4 * (0.3 * 0.7 / 2000) ** 0.5
    assert (masked[~few].sum(1) == round(0.5 * int(valid[0].sum()))).all()


@pytest.mark.parametrize("ratio", [0, 1, -0.1, 1.5, [0.1, 1.0], [0.4, 0.2], float("nan")])
def test_ratio_outside_the_open_interval(ratio):
    with pytest.raises(ValidationError, match="mask_ratio"):
        MaskingConfig(mask_ratio=ratio)


def test_lists_must_be_given(mini):
    with pytest.raises(ValueError, match="dead_channels names 1 lists, 0 were given"):
        Masker(mini, MaskingConfig(dead_channels=["a.txt"]))
    with pytest.raises(ValidationError, match="mask_ratio_scale"):
        MaskingConfig(time={"mask_ratio_scale": 0})
