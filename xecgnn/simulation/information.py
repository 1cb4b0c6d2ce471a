"""Fisher information in a sensor's readings: what its charge says of the light, and its time of the arrival."""

from __future__ import annotations

import numpy as np
from scipy.special import log_ndtr
from scipy.stats import norm, poisson

from xecgnn.arrays import Bools, Floats, Singles
from xecgnn.detector import Detector
from xecgnn.simulation.constants import Constants, ReadoutConstants

__all__ = ["ReadingInformation", "charge_information", "time_information"]

# Mean photo-electrons of the table of charges. From 10 on the information is 1 / variance to 0.03 %: what a normal
# charge would tell by its variance as well, the skewness takes away.
_FEW = np.geomspace(1e-3, 100, 61)
_MEANS = np.geomspace(1e-3, 1e6, 181)  # of the table of times
_MANY = 1000  # photo-electrons from which on their number is as good as its mean
_LEAST_NOISE = 0.1  # photo-electrons: peaks as narrow as that are told apart
_LARGEST_RATIO = 100.0  # of jitter to decay time, beyond which the decay does not matter
_RATIOS = np.geomspace(1e-4, _LARGEST_RATIO, 121)


class ReadingInformation:
    """Information of the readings of S sensors with the efficiency, gain and noise of `Readout`; 0 if `dead` (S,).

    Charge and time count as if they were measured apart, and a time as if the number of its photo-electrons were known.
    """

    def __init__(self, detector: Detector, dead: Bools, constants: Constants) -> None:
        if constants.time_jitter <= 0:
            raise ValueError(f"limits need a time_jitter above 0 ns, found {constants.time_jitter:g}")
        self._alive = ~dead
        self._efficiency = np.array([detector.sensor_kinds[name].efficiency for name in detector.sensor_type])
        self._kinds = []
        for name in np.unique(detector.sensor_type):
            readout = constants.readout[str(name)]
            excess = charge_information(_FEW, readout) * _variance(_FEW, readout)
            self._kinds.append((np.flatnonzero(detector.sensor_type == name), readout, excess))
        number = np.arange(constants.hit_threshold, 2 * _MANY, dtype=float)
        summed = poisson.pmf(number, _MEANS[:, None]) @ time_information(number, constants)
        self._time = np.where(_MEANS < _MANY, summed, time_information(_MEANS, constants))

    def __call__(self, light: Singles) -> tuple[Floats, Floats]:
        """Information (P, S) in the charge about the expected photons, and in the time about the arrival (per ns2).

        From the expected photons at the sensors, (P, S).
        """
        mean = light * self._efficiency
        charge = np.empty_like(mean)
        for ids, readout, excess in self._kinds:
            factor = np.interp(np.log(np.maximum(mean[:, ids], _FEW[0])), np.log(_FEW), excess)
            charge[:, ids] = factor / _variance(mean[:, ids], readout)
        time = np.exp(np.interp(np.log(np.maximum(mean, _MEANS[0])), np.log(_MEANS), np.log(self._time)))
        return charge * self._efficiency**2 * self._alive, time * (mean > _MEANS[0]) * self._alive


def charge_information(mean: Floats, readout: ReadoutConstants) -> Floats:
    """Information (N,) in the charge about the mean number of photo-electrons (N,), by integration.

    The density is that of `Readout`: a sum of normal ones, of n photo-electrons with mean n and variance
    n gain_spread^2 + noise^2, weighted by Poisson's law.
    """
    noise, found = max(readout.noise, _LEAST_NOISE), np.zeros(len(mean))
    for i, mu in enumerate(mean):
        reach = 8 * np.sqrt(_variance(mu, readout)) + 10
        charge = np.arange(max(mu - reach, -8 * noise), mu + reach, noise / 8)
        number = np.arange(max(int(mu - reach), 0), int(mu + reach) + 1)
        density = norm.pdf(charge[:, None], number, np.sqrt(number * readout.gain_spread**2 + noise**2))
        weight = poisson.pmf(number, mu)
        total, slope = density @ weight, density @ (poisson.pmf(number - 1, mu) - weight)
        found[i] = noise / 8 * np.divide(slope**2, total, out=np.zeros_like(total), where=total > 0).sum()
    return found


def time_information(number: Floats, constants: Constants) -> Floats:
    """Information (N,), per ns2, in the time of `number` (N,) photo-electrons about their mean arrival.

    It is later than that by Exp(decay time / n) + Normal(0, jitter / sqrt(n)) = Normal(0, s) + s Exp(1) / r. With
    z = (time - arrival) / s - r the density is r exp(-r^2 / 2 - r z) Phi(z), and the information E[(phi / Phi)^2] - r^2
    over s^2. It goes from n / jitter^2 (r large) to 0.903 n^1.5 / (jitter x decay time) (r small).
    """
    with np.errstate(divide="ignore"):
        ratio = np.minimum(constants.time_jitter * np.sqrt(number) / constants.decay_time, _LARGEST_RATIO)
        per_ratio = np.interp(np.log(ratio), np.log(_RATIOS), _shares() / _RATIOS)
    return number / constants.time_jitter**2 * ratio * per_ratio


def _shares() -> Floats:
    """Information x s^2 at `_RATIOS`."""
    z = np.linspace(-12, 12, 4801)[:, None] - np.where(_RATIOS > 1, _RATIOS, 0)
    squared = np.exp(2 * norm.logpdf(z) - log_ndtr(z) - _RATIOS**2 / 2 - _RATIOS * z)
    return _RATIOS * squared.sum(axis=0) * (z[1, 0] - z[0, 0]) - _RATIOS**2


def _variance(mean: Floats, readout: ReadoutConstants) -> Floats:
    """Of the charge (N,), in photo-electrons."""
    return mean * (1 + readout.gain_spread**2) + readout.noise**2
