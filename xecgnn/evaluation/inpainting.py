"""How well masked sensors are predicted: network beside baselines and the statistical floor, as table, CSV and plots.

Quantities: npho [photons]; relative, (predicted - true) / true npho [%], where the true npho reaches the threshold of
the normalisation; time [ns], where the sensor has a valid one. Statistics as in `ResidualStatistics`.

The floor is what a perfect prediction of the expected light would leave: npho is counted in photo-electrons, so it
spreads by sqrt(npho F / efficiency) around it, F = 1 + (spread of the gain)^2, without the noise of the electronics.
Bins and floor are those of npho in photons, and mean nothing for the branch `relative_npho`. Readings picked for their
size have fluctuated towards where there are fewer: that, too, is in the bias along npho.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xecgnn.detector import Detector
from xecgnn.evaluation.neighbors import NeighborBaselines
from xecgnn.evaluation.predictions import NETWORK
from xecgnn.evaluation.reconstruction import Reconstruction, reconstructions
from xecgnn.evaluation.residuals import GroupedResiduals, ResidualStatistics, floor_statistics
from xecgnn.evaluation.run import Evaluation
from xecgnn.evaluation.summary import aligned, number
from xecgnn.nn.masking import Masker
from xecgnn.output import completed
from xecgnn.simulation.constants import Constants

__all__ = ["BINS", "METHODS", "QUANTITIES", "UNITS", "InpaintingResiduals", "evaluate_inpainting"]

Floats = NDArray[np.floating]

METHODS = (NETWORK, "solid angle", "neighbours")
QUANTITIES, UNITS = ("npho", "relative", "time"), ("photons", "%", "ns")
NPHO, RELATIVE, TIME = range(3)
BINS = np.array([-np.inf, *(m * 10.0**e for e in range(1, 5) for m in (1, 2, 5)), np.inf])  # of true npho, photons
ALL, FLOOR = slice(None), "floor"
STATISTICS = ResidualStatistics._fields
METRICS = ("bias", "mae", "rmse", "resolution_68")


def variance_per_photon(detector: Detector) -> Floats:
    """F / efficiency (S,) of the sensors: times npho, the variance of readings of the same light.

    F = 1 + (spread of the gain)^2 with the spreads of the simulation, 1 for kinds of sensors that it does not know.
    """
    readout, kinds = Constants().readout, detector.sensor_kinds
    factor = {name: 1 + readout[name].gain_spread ** 2 if name in readout else 1.0 for name in kinds}
    return np.array([factor[name] / kinds[name].efficiency for name in detector.sensor_type])


class InpaintingResiduals:
    """Residuals of masked sensors by quantity, method, face and bin of true npho.

    Sensors for which a baseline has nothing to go by (see `NeighborBaselines`) count for no method.

    Args:
        detector: faces and sensors.
        npho_threshold: npho (photons) from which relative residuals count.
    """

    def __init__(self, detector: Detector, npho_threshold: float) -> None:
        self.detector, self.npho_threshold = detector, max(npho_threshold, 1e-6)
        self.baselines = NeighborBaselines(detector)
        self.faces = list(detector.faces)
        self.events = self.masked = 0
        shape = len(self.faces), len(BINS) - 1
        self.residuals = GroupedResiduals((len(QUANTITIES), len(METHODS), *shape))
        self.variance = np.zeros((len(QUANTITIES), *shape))  # sums of floor^2, and of (floor / npho)^2 in %^2
        self._variance = variance_per_photon(detector)
        self._face = np.empty(detector.num_sensors, dtype=np.int64)
        for index, face in enumerate(detector.faces.values()):
            self._face[face.sensor_ids] = index

    def add(self, events: Reconstruction) -> None:
        """Add the masked sensors of a batch."""
        visible, timed = events.npho_valid & ~events.masked, events.time_valid & ~events.masked
        near = self.baselines(events.npho, events.time, visible, timed, events.masked)
        self.events, self.masked = self.events + len(events.masked), self.masked + int(events.masked.sum())
        known = events.masked & np.isfinite(near.mean)
        true, sensor = events.npho[known].astype(float), np.nonzero(known)[1]
        groups = np.stack([self._face[sensor], np.searchsorted(BINS, true, side="right") - 1])  # [2, K]
        variance = true.clip(min=0) * self._variance[sensor]
        bright = true >= self.npho_threshold
        for method, values in enumerate((events.predicted_npho, near.solid_angle, near.mean)):
            r = values[known] - true
            self.residuals.add((NPHO, method, *groups), r)
            self.residuals.add((RELATIVE, method, *groups[:, bright]), 100 * r[bright] / true[bright])
        np.add.at(self.variance, (NPHO, *groups), variance)
        np.add.at(self.variance, (RELATIVE, *groups[:, bright]), 1e4 * variance[bright] / true[bright] ** 2)
        if events.predicted_time is not None:
            known = events.time_valid & np.isfinite(near.time)
            groups = groups[:, known[np.isfinite(near.mean)]]
            for method, values in ((0, events.predicted_time), (2, near.time)):
                self.residuals.add((TIME, method, *groups), 1e9 * (values[known] - events.time[known].astype(float)))

    def measures(self, quantity: int, face: Any = ALL, part: Any = ALL) -> dict[str, dict[str, float]]:
        """{method: {statistic: value}} on a face (index; default all) in a bin of npho (index; default all).

        The last one is the floor, but for times; it has no errors.
        """
        found: dict[str, dict[str, float]] = {}
        for index, method in enumerate(METHODS):
            found[method] = self.residuals.statistics((quantity, index, face, part))._asdict()
        if quantity != TIME:
            numbers = self.residuals.sums[quantity, 0, face, part, 0]
            with np.errstate(invalid="ignore"):
                variance = self.variance[quantity, face, part] / numbers
            found[FLOOR] = {"number": found[NETWORK]["number"], **floor_statistics(numbers.ravel(), variance.ravel())}
        return found

    def rows(self) -> Iterator[dict[str, Any]]:
        """A row per quantity, method (also the floor), face and bin of npho with sensors; `all` joins faces or bins."""
        for face, part, quantity in product([ALL, *range(len(self.faces))], [ALL, *range(len(BINS) - 1)], range(3)):
            low, high = (BINS[0], BINS[-1]) if part == ALL else BINS[part : part + 2]
            group = {"face": "all" if face == ALL else self.faces[face], "npho_from": low, "npho_to": high}
            group |= {"quantity": QUANTITIES[quantity], "unit": UNITS[quantity]}
            for method, values in self.measures(quantity, face, part).items():
                if values["number"]:
                    yield group | {"method": method} | values

    def table(self) -> str:
        """Text: all metrics over all faces, the 68 % quantile by face, it and the bias by npho; * marks the best."""
        compared = int(self.residuals.sums[NPHO, 0, ..., 0].sum())
        head = f"{compared} masked sensors of {self.events} events"
        if compared < self.masked:
            head += f"; {self.masked - compared} more on faces without a visible sensor are left out"
        if not compared:
            return f"{head}: nothing to compare"
        faces = [(name, index, ALL) for index, name in enumerate(self.faces)]
        bins = [(f"{low:.0f} to {high:.0f} photons", ALL, part) for part, (low, high) in enumerate(pairwise(BINS))]
        bins[0] = (f"below {BINS[1]:.0f} photons", ALL, 0)
        bins[-1] = (f"from {BINS[-2]:.0f} photons", ALL, len(bins) - 1)
        whole = [("", quantity, metric, ALL, ALL) for quantity, metric in product(range(3), METRICS)]
        blocks = [self._block("all faces", whole)]
        for quantity, metric, groups in (
            (NPHO, "resolution_68", faces),
            (RELATIVE, "resolution_68", faces),
            (NPHO, "resolution_68", bins),
            (NPHO, "bias", bins),
        ):
            entries = [(label, quantity, metric, face, part) for label, face, part in groups]
            blocks.append(self._block(f"{metric} [{UNITS[quantity]}]", entries))
        if any(" nan" in block for block in blocks):
            head += "; nan: some predictions are not finite"
        return "\n\n".join([head, *blocks])

    def _block(self, title: str, entries: Iterable[tuple[str, int, str, Any, Any]]) -> str:
        """A table with a row per (label, quantity, metric, face, bin) that has sensors."""
        rows = [[title, "sensors", FLOOR, *(f"{method} " for method in METHODS)]]
        for label, quantity, metric, face, part in entries:
            found = self.measures(quantity, face, part)
            floor = number(found.pop(FLOOR)[metric]) if FLOOR in found else "-"
            sizes = {method: abs(values[metric]) for method, values in found.items()}
            best = min(filter(np.isfinite, sizes.values()), default=None)
            cells = [
                (number(values[metric]) if values["number"] else "-") + ("*" if sizes[method] == best else " ")
                for method, values in found.items()
            ]
            label = label or f"{QUANTITIES[quantity]} {metric} [{UNITS[quantity]}]"
            if found[NETWORK]["number"]:
                rows.append([label, str(found[NETWORK]["number"]), floor, *cells])
        return aligned(rows)


def evaluate_inpainting(
    model: Any,
    masker: Masker,
    loader: Iterable[Any],
    folder: Path,
    run_name: str,
    *,
    seed: int = 0,
    max_events: int | None = None,
) -> Evaluation:
    """Measure the prediction of masked sensors, and write inpainting_<run_name>.csv and
    inpainting_resolution_<run_name>.pdf; arguments as for `reconstructions`.
    """
    from xecgnn.evaluation.inpainting_plots import figures
    from xecgnn.evaluation.pages import write_pages

    measured = InpaintingResiduals(model.detector, float(model.backbone.normalizer.npho_threshold))
    for events in reconstructions(model, masker, loader, seed, max_events):
        measured.add(events)
    table, plots = folder / f"inpainting_{run_name}.csv", folder / f"inpainting_resolution_{run_name}.pdf"
    with completed(table) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["face", "npho_from", "npho_to", "quantity", "unit", "method", *STATISTICS])
        writer.writeheader()
        writer.writerows(measured.rows())
    write_pages(plots, figures(measured, run_name))
    return Evaluation(measured.table(), [table, plots])
