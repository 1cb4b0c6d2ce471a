"""How well masked sensors are predicted: network beside baselines and the statistical floor, as table, CSV and plots.

Quantities: npho [photons]; relative, (predicted - true) / true npho [%], where the true npho reaches the threshold of
the normalisation; time [ns], where the sensor has a valid one. Statistics are the METRICS of `residuals`.

The floor is what a perfect prediction of the expected light would leave: npho is counted in photo-electrons, so it
spreads by sqrt(npho F / efficiency) around it, F = 1 + (spread of the gain)^2, without the noise of the electronics.
Bins and floor are those of npho in photons, and mean nothing for the branch `relative_npho`. Readings picked for their
size have fluctuated towards where there are fewer: that, too, is in the bias along npho.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise, product

import numpy as np
from numpy.typing import NDArray

from xecgnn.data.events import Events
from xecgnn.detector import Detector
from xecgnn.estimate import Estimate
from xecgnn.evaluation.baselines.sensors import NeighborBaselines
from xecgnn.evaluation.predictions import NETWORK
from xecgnn.evaluation.residuals import METRICS, GroupedResiduals, floor_estimates
from xecgnn.names import NPHO, RELATIVE_TIME
from xecgnn.schema import prediction_of
from xecgnn.simulation.constants import Constants
from xecgnn.table import Table, number

__all__ = ["BINS", "FLOOR", "METHODS", "QUANTITIES", "RELATIVE", "TIME", "InpaintingResiduals"]

Floats = NDArray[np.floating]
Group = int | list[int] | slice  # one face or bin of npho, some, or all

METHODS = (NETWORK, "solid angle", "neighbours")
RELATIVE, TIME = "relative", "time"
QUANTITIES = {NPHO: "photons", RELATIVE: "%", TIME: "ns"}
BINS = np.array([-np.inf, *(m * 10.0**e for e in range(1, 5) for m in (1, 2, 5)), np.inf])  # of true npho, photons
ALL, FLOOR = slice(None), "floor"
COLUMNS = ["face", "npho_from", "npho_to", "quantity", "unit", "method", "number", "bias", "bias_error", "mae", "rmse",
           "resolution_68", "resolution_68_low", "resolution_68_high"]  # fmt: skip


def variance_per_photon(detector: Detector) -> Floats:
    """F / efficiency (S,) of the sensors: times npho, the variance of readings of the same light.

    F = 1 + (spread of the gain)^2 with the spreads of the simulation, 1 for kinds of sensors that it does not know.
    """
    readout, kinds = Constants().readout, detector.sensor_kinds
    factor = {name: 1 + readout[name].gain_spread ** 2 if name in readout else 1.0 for name in kinds}
    return np.array([factor[name] / kinds[name].efficiency for name in detector.sensor_type])


class InpaintingResiduals:
    """Residuals of masked sensors by quantity and method, in groups by face and bin of true npho.

    Sensors for which a baseline has nothing to go by (see `NeighborBaselines`) count for no method.

    Attributes:
        faces: their names.
        kinds: {kind of sensor: indices of the faces that have it}.

    Args:
        detector: faces and sensors.
        npho_threshold: npho (photons) from which relative residuals count.
    """

    def __init__(self, detector: Detector, npho_threshold: float) -> None:
        self.detector, self.npho_threshold = detector, max(npho_threshold, 1e-6)
        self.baselines = NeighborBaselines(detector)
        self.faces = list(detector.faces)
        sensors = [face.sensor for face in detector.faces.values()]
        self.kinds = {name: [i for i, kind in enumerate(sensors) if kind == name] for name in dict.fromkeys(sensors)}
        self.events = self.masked = 0
        shape = len(self.faces), len(BINS) - 1
        pairs = product(QUANTITIES, METHODS)
        self.residuals = {(name, method): GroupedResiduals(shape, QUANTITIES[name]) for name, method in pairs}
        self.variance = {name: np.zeros(shape) for name in (NPHO, RELATIVE)}  # sums of floor^2, (floor / npho)^2 in %^2
        self._variance = variance_per_photon(detector)
        self._face = np.empty(detector.num_sensors, dtype=np.int64)
        for index, face in enumerate(detector.faces.values()):
            self._face[face.sensor_ids] = index

    def add(self, events: Events) -> None:
        """Add the masked sensors of some events, as `reconstructions` gives them."""
        visible, timed = events.npho_valid & ~events.masked, events.time_valid & ~events.masked
        near = self.baselines(events.npho, events.relative_time, visible, timed, events.masked)
        self.events, self.masked = self.events + len(events.masked), self.masked + int(events.masked.sum())
        known = events.masked & np.isfinite(near.mean)
        true, sensor = events.npho[known].astype(float), np.nonzero(known)[1]
        groups = np.stack([self._face[sensor], np.searchsorted(BINS, true, side="right") - 1])  # [2, K]
        variance = true.clip(min=0) * self._variance[sensor]
        bright = true >= self.npho_threshold
        light = tuple(groups[:, bright])
        for method, values in zip(METHODS, (events.pred_npho, near.solid_angle, near.mean), strict=True):
            r = values[known] - true
            self.residuals[NPHO, method].add(tuple(groups), r)
            self.residuals[RELATIVE, method].add(light, 100 * r[bright] / true[bright])
        np.add.at(self.variance[NPHO], tuple(groups), variance)
        np.add.at(self.variance[RELATIVE], light, 1e4 * variance[bright] / true[bright] ** 2)
        if prediction_of(RELATIVE_TIME) in events:
            known = events.time_valid & np.isfinite(near.time)
            timed_groups = tuple(groups[:, known[np.isfinite(near.mean)]])
            for method, values in ((NETWORK, events.pred_relative_time), ("neighbours", near.time)):
                off = 1e9 * (values[known] - events.relative_time[known].astype(float))
                self.residuals[TIME, method].add(timed_groups, off)

    def number(self, quantity: str, face: Group = ALL, part: Group = ALL) -> int:
        """How many sensors there are of a quantity on a face (index, or several; default all) in a bin of npho."""
        return self.residuals[quantity, NETWORK].number((face, part))

    def measures(self, quantity: str, face: Group = ALL, part: Group = ALL) -> dict[str, dict[str, Estimate]]:
        """{method: METRICS} of the same; the last one is the floor, but for times."""
        found = {method: self.residuals[quantity, method].estimates((face, part)) for method in METHODS}
        if quantity != TIME:
            numbers = self.residuals[quantity, NETWORK].sums[face, part, 0]
            with np.errstate(invalid="ignore"):
                variance = self.variance[quantity][face, part] / numbers
            found[FLOOR] = floor_estimates(np.ravel(numbers), np.ravel(variance), QUANTITIES[quantity])
        return found

    def csv(self) -> str:
        """A row per quantity, method (also the floor), face and bin of npho with sensors; `all` joins."""
        table = Table(COLUMNS)
        for face, part, quantity in product([ALL, *range(len(self.faces))], [ALL, *range(len(BINS) - 1)], QUANTITIES):
            low, high = (BINS[0], BINS[-1]) if part == ALL else BINS[part : part + 2]
            group = "all" if face == ALL else self.faces[face], low, high, quantity, QUANTITIES[quantity]
            for method, found in self.measures(quantity, face, part).items():
                bias, mae, rmse, width = found.values()
                errors = ["", "", ""] if method == FLOOR else [bias.error, width.low, width.high]
                if bias.n:
                    row = bias.n, bias.value, errors[0], mae.value, rmse.value, width.value, *errors[1:]
                    table.add(*group, method, *row)
        return table.csv()

    def table(self) -> str:
        """Text: all metrics over all faces, the 68 % quantile by face, it and the bias by npho; * marks the best."""
        compared = self.number(NPHO)
        head = f"{compared} masked sensors of {self.events} events"
        if compared < self.masked:
            head += f"; {self.masked - compared} more on faces without a visible sensor are left out"
        if not compared:
            return f"{head}: nothing to compare"
        faces = [(name, index, ALL) for index, name in enumerate(self.faces)]
        bins = [(f"{low:.0f} to {high:.0f} photons", ALL, part) for part, (low, high) in enumerate(pairwise(BINS))]
        bins[0] = (f"below {BINS[1]:.0f} photons", ALL, 0)
        bins[-1] = (f"from {BINS[-2]:.0f} photons", ALL, len(bins) - 1)
        whole = [("", quantity, metric, ALL, ALL) for quantity, metric in product(QUANTITIES, METRICS)]
        blocks = [self._block("all faces", whole)]
        for quantity, metric, groups in (
            (NPHO, "resolution_68", faces),
            (RELATIVE, "resolution_68", faces),
            (NPHO, "resolution_68", bins),
            (NPHO, "bias", bins),
        ):
            entries = [(label, quantity, metric, face, part) for label, face, part in groups]
            blocks.append(self._block(f"{metric} [{QUANTITIES[quantity]}]", entries))
        if any(" nan" in block for block in blocks):
            head += "; nan: some predictions are not finite"
        return "\n\n".join([head, *blocks])

    def _block(self, title: str, entries: Iterable[tuple[str, str, str, Group, Group]]) -> str:
        """A table with a row per (label, quantity, metric, face, bin) that has sensors."""
        table = Table([title, "sensors", FLOOR, *(f"{method} " for method in METHODS)])
        for label, quantity, metric, face, part in entries:
            found = {method: estimates[metric] for method, estimates in self.measures(quantity, face, part).items()}
            floor = number(found.pop(FLOOR).value) if FLOOR in found else "-"
            sizes = {method: abs(entry.value) for method, entry in found.items()}
            best = min(filter(np.isfinite, sizes.values()), default=None)
            cells = [
                (number(entry.value) if entry.n else "-") + ("*" if sizes[method] == best else " ")
                for method, entry in found.items()
            ]
            if found[NETWORK].n:
                label = label or f"{quantity} {metric} [{QUANTITIES[quantity]}]"
                table.add(label, found[NETWORK].n, floor, *cells)
        return table.text()
