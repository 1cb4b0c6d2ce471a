"""Which sensors a trained network looks at: gradients and integrated gradients, averaged over events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xecgnn.data.batch import Readings
from xecgnn.detector import Detector
from xecgnn.evaluation.attribution.gradients import STEPS, Attribution
from xecgnn.models.network import Network
from xecgnn.names import FEATURES, is_valid
from xecgnn.output import completed
from xecgnn.progress import Progress
from xecgnn.tasks.axes import AXES
from xecgnn.tasks.registry import TASKS

__all__ = ["DISTANCES", "METHODS", "Saliency", "compute_saliency", "event_saliency"]

Array = NDArray[Any]

METHODS = ("gradient", "integrated gradient")
EVENTS = 8  # at once: what memory grows with, 46 MB each for the default network and MEG II
DISTANCES = np.arange(0.0, 165.0, 5.0)  # lower edges of the bins, cm


class Saliency(NamedTuple):
    """Of K outputs by the two METHODS, in the shown units of the outputs; channels are npho, relative_time.

    Only the first of the E events have integrated gradients.
    """

    tasks: Array  # [K]
    axes: Array  # [K] names of the axes of these tasks
    size: Array  # [2, K, 2, S] mean |value| by sensor id
    mean: Array  # [2, K, 2, S] mean value
    near: Array  # [2, K, 2, D] mean |value| of the sensors by distance from the first interaction; NaN: no sensor
    faces: Array  # [E, 2, K, 2, F] sum of |value| over the sensors of a face; NaN in events without this method
    angles: Array  # [E, 2] true theta, phi, deg; NaN where unknown
    completeness: Array  # [K] RMS of (sum of contributions - change of the output), over the RMS of the change

    def write(self, path: Path) -> None:
        """Write one .npz."""
        with completed(path) as part, part.open("wb") as file:
            np.savez(file, **self._asdict())

    @classmethod
    def read(cls, path: Path) -> Saliency:
        """Read what `write` wrote; ValueError for another kind of file, FileNotFoundError for none."""
        try:
            with np.load(path, allow_pickle=False) as file:
                return cls(**file)
        except (ValueError, TypeError, EOFError, BadZipFile) as error:
            raise ValueError(f"{path}: not a file of saliencies ({type(error).__name__})") from None


def compute_saliency(model: Network, batches: Iterable[Readings], max_events: int, steps: int = STEPS) -> Saliency:
    """Average over validation events; the model stays as it is.

    Args:
        model: the network, on the device to use.
        batches: of events, as from `EventLoader`.
        max_events: events for gradients; a quarter of them for integrated gradients, `steps` times as slow.
        steps: points on the path of integrated gradients.
    """
    network, left = Attribution(model), max(1, max_events // 4)
    sums: list[Any] = [0.0] * 5
    events, checks = [], []
    with Progress("saliency", max_events) as shown:
        for x, near, angles in _pieces(network, model.detector, batches, max_events):
            has = np.arange(len(x)) < np.array([[len(x)], [left]])  # [2, B] which events have the method
            values = np.full((2, len(x), len(network.axes), 2, x.size(1)), np.nan, np.float32)
            values[0] = network.gradients(x)
            if left > 0:
                values[1, :left], *check = network.contributions(x[:left], steps)
                checks.append(check)
            left -= len(x)
            size = np.abs(values)
            by_distance = np.tensordot(np.nan_to_num(size), near, ([1, 4], [0, 1]))  # [2, K, 2, D]
            new = has.sum(1), has @ near.sum(1), by_distance, np.nansum(size, 1), np.nansum(values, 1)
            sums = [old + array for old, array in zip(sums, new, strict=True)]
            faces = np.stack([size[..., face.sensor_ids].sum(-1) for face in model.detector.faces.values()], -1)
            events.append((faces.swapaxes(0, 1), angles))
            shown.advance(len(x))
    if not events:
        raise ValueError("saliency needs events, found none")
    number, sensors, by_distance, size, mean = sums
    faces, angles = map(np.concatenate, zip(*events, strict=True))
    change, error = (np.linalg.norm(np.concatenate(part), axis=0) for part in zip(*checks, strict=True))
    with np.errstate(invalid="ignore"):
        return Saliency(
            np.array([task for task, _ in network.axes], str),
            np.array([axis.name for _, axis in network.axes], str),
            size / number[:, None, None, None],
            mean / number[:, None, None, None],
            by_distance / sensors[:, None, None],
            faces,
            angles,
            error / change,
        )


def event_saliency(model: Network, x: Tensor, steps: int = STEPS) -> dict[str, Array]:
    """`saliency_npho`, `saliency_relative_time` (B, S) float32 by sensor id, from raw readings (B, S, 2).

    Shares in the sum of all |contributions| to an output, averaged over the outputs: both together sum to 1, or to 0
    in an event without valid reading.
    """
    network, shares = Attribution(model), []
    for part in x.to(network.normalizer.npho_scale).split(EVENTS):
        size = np.abs(network.contributions(part, steps)[0])  # [B, K, 2, S]
        total = size.sum((2, 3), keepdims=True)
        shares.append((size / np.where(total > 0, total, 1)).sum(1) / max(1, len(network.axes)))
    return {f"saliency_{name}": np.concatenate(shares)[:, channel] for channel, name in enumerate(FEATURES)}


def _pieces(
    network: Attribution, detector: Detector, batches: Iterable[Readings], left: int
) -> Iterator[tuple[Tensor, Array, Array]]:
    """The first `left` events: readings (B, S, 2), 1 in the bin of a sensor's distance (B, S, D), angles (B, 2) deg.

    The distance is that from the first interaction point, or from the brightest sensor where it is unknown.
    """
    for batch in batches:
        x = batch.x[:left].to(network.normalizer.npho_scale)
        y = {name: values[:left].cpu() for name, values in batch.y.items()}
        unknown = np.full((len(x), 3), np.nan)
        known = [task.shown(y[name]) for name, task in TASKS.items() if name in y and task.axes == AXES["emiAng"]]
        angles = np.asarray(known[0] if known else unknown[:, :2])
        bright = torch.where(is_valid(x[..., 0]), x[..., 0], -torch.inf).argmax(1).cpu().numpy()
        point = detector.to_xyz(y["uvwFI"]) if "uvwFI" in y else unknown
        point = np.where(np.isfinite(point).all(1, keepdims=True), point, detector.position[bright])
        for rows in np.array_split(np.arange(len(x)), -(-len(x) // EVENTS)):
            distance = np.linalg.norm(detector.position - point[rows, None], axis=-1)  # [B, S]
            bins = np.searchsorted(DISTANCES, distance, "right") - 1
            yield x[rows], (bins[..., None] == np.arange(len(DISTANCES))).astype(np.float32), angles[rows]
        left -= len(x)
        if left <= 0:
            break
