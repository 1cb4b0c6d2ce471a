"""Which sensors are hidden from the network for training: an exact share of the valid ones of every event."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from xecgnn.detector import Detector, Face
from xecgnn.nn.config import MaskingConfig
from xecgnn.nn.faces import Faces

__all__ = ["Masker", "Validity", "face_patches"]

Validity = tuple[Tensor, Tensor]  # npho_valid, time_valid (B, S) bool, True = usable

OCTAVES = 12  # bins of npho, a factor of 2 each, below the brightest sensor of the event; the last one is open


class Masker(nn.Module):
    """Draws which sensors are hidden: round(ratio * valid) of the valid sensors of each event, all faces together.

    Sensors are ranked by E / w with an exponential random number E and a weight w, and the first ones are hidden:
    drawing without replacement, each time with a chance proportional to w (Efraimidis and Spirakis, 2006). The sensors
    of a patch share one E, and the last patch is cut at random. Invalid sensors are never hidden.

    Args:
        detector: its faces and their neighbours.
        config: ratio, pattern and preferences.
        dead_lists: sensor ids of each file in `config.dead_channels`.
    """

    place: Tensor  # (S,) place of each sensor when the faces stand one after the other
    patch: Tensor  # (S,) number of the patch
    dead: Tensor  # (lists, S) bool

    def __init__(self, detector: Detector, config: MaskingConfig, dead_lists: Sequence[np.ndarray] = ()) -> None:
        super().__init__()
        if len(dead_lists) != len(config.dead_channels):
            raise ValueError(f"dead_channels names {len(config.dead_channels)} lists, {len(dead_lists)} were given")
        self.config = config
        faces = detector.faces.values()
        self.register_buffer("place", Faces(detector).place, persistent=False)
        patch = np.arange(detector.num_sensors)
        if config.pattern == "patch":
            parts = [face_patches(face, config.patch_size) for face in faces]
            starts = np.cumsum([0] + [int(part.max()) + 1 for part in parts])
            patch = np.concatenate([part + start for part, start in zip(parts, starts[:-1], strict=True)])
        self.num_patches = int(patch.max()) + 1
        ids = np.arange(detector.num_sensors)
        dead = np.array([np.isin(ids, listed) for listed in dead_lists], dtype=bool).reshape(-1, len(ids))
        self.register_buffer("patch", torch.as_tensor(patch)[self.place], persistent=False)
        self.register_buffer("dead", torch.as_tensor(dead), persistent=False)

    @torch.no_grad()
    def forward(self, x: Tensor, validity: Validity, generator: torch.Generator | None = None) -> Tensor:
        """Hidden sensors (B, S) bool, True = masked.

        Args:
            x: raw (npho, relative_time), (B, S, 2).
            validity: as from `Normalizer.validity`.
            generator: source of the random numbers, on the device of the readings.
        """
        valid, _ = validity
        events, device = len(valid), valid.device

        def uniform(*size: int) -> Tensor:
            return torch.rand(events, *size, generator=generator, device=device)

        bounds = self.config.mask_ratio
        low, high = bounds if isinstance(bounds, tuple) else (bounds, bounds)
        ratio = low + (high - low) * uniform().double()
        count = (ratio * valid.sum(1)).round().long().unsqueeze(1)  # [B, 1]
        rank = -uniform(self.num_patches).log()  # exponential
        if self.config.flat_npho or self.config.time.mask_ratio_scale != 1:
            rank = rank / self._weights(x[..., 0], validity)
        key = unique_keys(rank.index_select(1, self.patch), uniform(valid.size(1)).index_select(1, self.place))
        key = key.masked_fill(~valid, torch.iinfo(key.dtype).max)
        last = key.sort(1).values.gather(1, (count - 1).clamp(min=0))
        masked = (key <= last) & valid & (count > 0)
        if len(self.dead):
            listed = self.dead[(uniform() * len(self.dead)).long()]  # [B, S]
            masked = torch.where(uniform(1) < self.config.dead_channel_fraction, listed & valid, masked)
        return masked

    def _weights(self, npho: Tensor, validity: Validity) -> Tensor:
        """Mean weight of the valid sensors of each patch (B, P)."""
        valid, timed = validity
        weight = valid.float()
        if self.config.flat_npho:
            bins = octaves(npho, valid)
            filled = weight.new_zeros(len(valid), OCTAVES).scatter_add_(1, bins, weight)
            weight = weight / filled.gather(1, bins).clamp(min=1)
        if self.config.time.mask_ratio_scale != 1:
            weight = torch.where(timed, weight * self.config.time.mask_ratio_scale, weight)
        sums = weight.new_zeros(2, len(valid), self.num_patches)
        total, number = sums.index_add_(2, self.patch, torch.stack([weight, valid.float()]))
        return torch.where(number > 0, total / number.clamp(min=1), 1)

    def extra_repr(self) -> str:
        return f"{self.config.mask_ratio}, {self.config.pattern}, {self.num_patches} patches"


def unique_keys(rank: Tensor, tie: Tensor) -> Tensor:
    """int64 keys (B, S) in the order of `rank` (float32, not negative), equal ones by `tie` in [0, 1); none are equal.

    One sort of keys and one comparison cost half of two argsorts.
    """
    sensors = rank.size(1)
    order = rank.contiguous().view(torch.int32).long() << 32  # the bits of a positive float are ordered like the float
    bits = sensors.bit_length()
    tie = (tie * 2 ** (31 - bits)).long() << bits
    return order + tie + torch.arange(sensors, device=rank.device)


def octaves(npho: Tensor, valid: Tensor) -> Tensor:
    """Bin of each sensor (B, S): how many factors of 2 it lies below the brightest valid one of its event."""
    usable = valid & (npho > 0)
    npho = torch.where(usable, npho, 1)
    brightest = torch.where(usable, npho, 0).amax(1, keepdim=True)
    below = torch.where(usable, (brightest / npho).log2(), OCTAVES)
    return below.floor().clamp(0, OCTAVES - 1).long()


def face_patches(face: Face, size: int) -> np.ndarray:
    """Number of the patch (N,) of each sensor: squares of size x size cells, of a lattice or of the rows of a hex face.

    A dense block is cut in the cells of the lattice around it, so that its patches cover the same area.
    """
    if face.cells is None:
        row = np.repeat(np.arange(len(face.shape)), face.shape)
        col = np.concatenate([np.arange(length) for length in face.shape])
    else:
        cell = np.array(face.shape) / (face.coarse_shape or face.shape)
        row, col = ((face.cells[:, i] + face.cells[:, i + 1]) / 2 / c for i, c in zip((0, 2), cell, strict=True))
    pairs = np.stack([row // size, col // size], 1)
    return np.unique(pairs, axis=0, return_inverse=True)[1].reshape(-1)
