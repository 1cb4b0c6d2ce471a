"""Deposits of another program (Geant4, say) as a source of showers: `xecgnn-simulate --deposits`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Self

import numpy as np

from xecgnn.arrays import Floats, Ints
from xecgnn.detector import Detector
from xecgnn.directions import angles_to_direction, direction_to_angles
from xecgnn.names import SCHEMA
from xecgnn.simulation.block import BLOCK_EVENTS, MEV, Block, Stream, generator
from xecgnn.simulation.constants import Constants
from xecgnn.simulation.shower import Steps, deposit_direction, represent
from xecgnn.simulation.volume import XenonVolume

__all__ = ["DEPOSITS", "PHOTONS", "DepositFile"]

logger = logging.getLogger(__name__)

DEPOSITS, PHOTONS = "deposits", "photons"  # trees of the file
_STEP = ("event", "x", "y", "z", "edep", "t")
# Of each pair one is enough: the other follows.
_TRUTH = (("energyTruth",), ("timeTruth",), ("emiVec", "emiAng"), ("xyzTruth", "uvwTruth"))
_OPTIONAL = ("xyzVTX", "run")
_EXCESS = 1.01  # deposited energy over that of the photon, from which on a unit must be wrong


class DepositFile:
    """Blocks of showers from a file with two trees, both in ascending order of `event`.

    - `deposits`, an entry per deposit: event, x, y, z (cm), edep (MeV), t (ns)
    - `photons`, an entry per event: event, energyTruth, emiVec or emiAng, xyzTruth or uvwTruth, timeTruth (s, on the
      clock of t), and where there are any xyzVTX and run, in the units of `names.SCHEMA`

    An event without deposits, and deposits outside the xenon, give no light: a warning names them. To be used in a
    `with` block, the blocks in order.

    Raises:
        FileNotFoundError: No such file.
        ValueError: A tree or a branch is missing, events are not in order or unknown, an event holds more energy than
            its photon, or most of the energy lies outside the xenon: its units are not those above.
    """

    def __init__(
        self,
        path: str | Path,
        detector: Detector,
        volume: XenonVolume,
        constants: Constants,
        seed: int,
        limits: bool = False,
    ) -> None:
        self._path = Path(path)
        if not self._path.is_file():
            raise FileNotFoundError(f"no file of deposits {str(path)!r}")
        self._detector, self._volume, self._constants, self._seed = detector, volume, constants, seed
        self._limits = limits
        self._empty: list[int] = []
        self._energy = np.zeros(2)  # MeV: all, outside the xenon

    def __enter__(self) -> Self:
        import uproot

        try:
            self._file = uproot.open(self._path)
        except Exception as error:
            raise ValueError(f"{self._path}: not a ROOT file ({type(error).__name__})") from error
        self._trees, self._order = dict[str, Any](), dict[str, Ints]()
        needed: dict[str, list[tuple[str, ...]]] = {
            DEPOSITS: [(name,) for name in _STEP],
            PHOTONS: [("event",), *_TRUTH],
        }
        for name, groups in needed.items():
            if name not in self._file:
                found = ", ".join(self._file.keys(cycle=False)) or "none"
                raise ValueError(f"{self._path}: no tree {name!r}; found: {found}")
            tree = self._trees[name] = self._file[name]
            absent = [" or ".join(map(repr, group)) for group in groups if not {*group} & {*tree.keys()}]
            if absent:
                branches = ", ".join(tree.keys())
                raise ValueError(f"{self._path}: tree {name!r} has no branch {absent[0]}; branches: {branches}")
            event = self._order[name] = tree["event"].array(library="np").astype(np.int64)
            late = np.flatnonzero(np.diff(event) < (1 if name == PHOTONS else 0))
            if len(late):
                pair = f"{event[late[0]]} before {event[late[0] + 1]}"
                raise ValueError(f"{self._path}: events of tree {name!r} must ascend, found {pair}")
        unknown = np.setdiff1d(self._order[DEPOSITS], self._order[PHOTONS])
        if len(unknown):
            raise ValueError(f"{self._path}: event {unknown[0]} has deposits, but tree {PHOTONS!r} has no such event")
        if not self.num_events:
            raise ValueError(f"{self._path}: tree {PHOTONS!r} has no events")
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._file.close()
        if kind is None and self._empty:
            shown = ", ".join(map(str, self._empty[:5])) + (", ..." if len(self._empty) > 5 else "")
            logger.warning("%s: %d events without deposits: %s", self._path, len(self._empty), shown)
        if kind is None and self._energy[1] > 0:
            share = self._energy[1] / self._energy[0]
            logger.warning("%s: %.2g %% of the energy lies outside the xenon: no light", self._path, 100 * share)

    @property
    def num_events(self) -> int:
        """Events of the file."""
        return len(self._order[PHOTONS])

    @property
    def num_blocks(self) -> int:
        """Blocks of the file."""
        return (self.num_events + BLOCK_EVENTS - 1) // BLOCK_EVENTS

    def __call__(self, index: int) -> Block:
        first = index * BLOCK_EVENTS
        event = self._order[PHOTONS][first : first + BLOCK_EVENTS]
        truth = self._truth(first, first + len(event)) | {"event": event}
        steps = self._steps(event)
        rng = generator(self._seed, index, Stream.DEPOSITS)
        showers = represent(rng, steps, len(event), self._volume, self._constants)
        self._check(event, np.bincount(steps.photon, steps.energy, len(event)), showers.deposited, truth["energyTruth"])
        truth |= {"edepTruth": showers.deposited * MEV, "centroidTruth": showers.centroid}
        if self._limits:
            points = np.asarray(truth["xyzTruth"], dtype=float)
            truth |= {"deposits_emiVec": deposit_direction(steps, points, self._volume)}
        return Block(index, 0, np.arange(len(event)), showers, truth)

    def _steps(self, event: Ints) -> Steps:
        start, stop = np.searchsorted(self._order[DEPOSITS], [event[0], event[-1] + 1])
        columns = self._trees[DEPOSITS].arrays(_STEP, entry_start=start, entry_stop=stop, library="np")
        values = np.stack([columns[name].astype(np.float64) for name in _STEP[1:]])  # [5, D]
        wrong = np.argwhere(~np.isfinite(values))
        if len(wrong):
            axis, row = wrong[0]
            found = f"event {columns['event'][row]} has a deposit whose {_STEP[1 + axis]} is {values[axis, row]}"
            raise ValueError(f"{self._path}: {found}")
        *_, energy, time = values
        if (energy < 0).any():
            worst = int(np.argmin(energy))
            raise ValueError(f"{self._path}: event {columns['event'][worst]} has a deposit of {energy[worst]:g} MeV")
        photon = np.searchsorted(event, columns["event"])
        return Steps(photon, np.ascontiguousarray(values[:3].T), energy, time)

    def _truth(self, start: int, stop: int) -> dict[str, Floats]:
        tree, count = self._trees[PHOTONS], stop - start
        names = [name for group in (*_TRUTH, _OPTIONAL) for name in group if name in tree]
        truth = tree.arrays(names, entry_start=start, entry_stop=stop, library="np")
        for name in names:
            width, dtype = SCHEMA[name].width, SCHEMA[name].dtype
            truth[name] = truth[name].astype(np.int64 if np.dtype(dtype).kind == "i" else np.float64)
            if truth[name].shape != (count, width)[: 1 if width == 1 else 2]:
                found = int(np.prod(truth[name].shape[1:]))
                raise ValueError(f"{self._path}: branch {name!r} has width {found}, expected {width}")
        if "emiVec" not in truth:
            truth["emiVec"] = angles_to_direction(*truth["emiAng"].T)
        truth["emiAng"] = np.stack(direction_to_angles(truth["emiVec"]), axis=-1)
        if "xyzTruth" not in truth:
            truth["xyzTruth"] = self._detector.to_xyz(truth["uvwTruth"])
        truth["uvwTruth"] = self._detector.to_uvw(truth["xyzTruth"])
        missing = {"xyzVTX": np.full((count, 3), np.nan), "run": np.full(count, self._seed)}
        return missing | truth | {"n_gamma": np.ones(count, dtype=np.int64)}

    def _check(self, event: Ints, total: np.ndarray, inside: np.ndarray, photon: np.ndarray) -> None:
        """Of E events: MeV deposited anywhere and in the xenon, and GeV of the photon."""
        excess = np.flatnonzero(total > _EXCESS * photon / MEV)
        if len(excess):
            one = excess[0]
            found = f"event {event[one]} deposits {total[one]:.4g} MeV, its photon has {photon[one]:.4g} GeV"
            raise ValueError(f"{self._path}: {found}; edep is in MeV, energyTruth in GeV")
        outside = (total - inside).sum()
        if outside > 0.5 * total.sum():
            far = 100 * outside / total.sum()
            raise ValueError(f"{self._path}: {far:.0f} % of the energy lies outside the xenon; x, y, z are in cm")
        self._energy += total.sum(), outside
        self._empty += event[total == 0].tolist()
