from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import log_ndtr
from scipy.stats import exponnorm, norm

from xecgnn.cli.simulate import main
from xecgnn.data import Events
from xecgnn.detector import Detector
from xecgnn.names import SCHEMA
from xecgnn.simulation import Constants, simulate_events
from xecgnn.simulation.constants import ReadoutConstants
from xecgnn.simulation.information import ReadingInformation, charge_information, time_information
from xecgnn.simulation.light import LightModel
from xecgnn.simulation.limits import LightLimits
from xecgnn.simulation.readout import Readout, dead_mask
from xecgnn.simulation.shower import Showers, Steps, deposit_direction
from xecgnn.simulation.volume import XenonVolume

CONSTANTS = Constants()
REFERENCES = SCHEMA.names("reference")


class Setup:
    """Light and limits of a detector."""

    def __init__(self, detector: Detector, constants: Constants = CONSTANTS, dead: tuple[int, ...] = ()) -> None:
        self.volume = XenonVolume(detector)
        self.light = LightModel(detector, self.volume, constants)
        self.limits = LightLimits(detector, self.volume, self.light, dead_mask(detector, dead), constants)

    def information(self, showers: Showers) -> np.ndarray:
        return self.limits.information(showers, *self.light(showers))

    def bound(self, showers: Showers) -> np.ndarray:
        """(P, 5) in GeV, cm, s."""
        return np.column_stack([*self.limits(showers, *self.light(showers)).values()])


@pytest.fixture(scope="module")
def setup(mini: Detector) -> Setup:
    return Setup(mini)


def cloud(detector: Detector, uvw=(12.0, 25.0, 12.0), energy: float = 30.0, spread: float = 2.0) -> Showers:
    """Two showers of 64 deposits."""
    rng = np.random.default_rng(3)
    position = detector.to_xyz(rng.normal(uvw, spread, (2, 64, 3)))
    time = rng.uniform(0, 0.3, (2, 64))
    return Showers(position, np.full((2, 64), energy / 64), time, np.full(2, energy), position.mean(axis=1))


def flashes(values: np.ndarray) -> Showers:
    """One deposit each, from energy (MeV), x, y, z (cm) and time (ns): (N, 5)."""
    return Showers(values[:, None, 1:4], values[:, :1], values[:, 4:], values[:, 0], values[:, 1:4])


# A time


def test_time_information_is_that_of_its_density() -> None:
    """The integral of (df / da)^2 / f over the exponentially modified normal density f(t - a)."""
    for number in (3.0, 30.0, 3000.0):
        sigma, decay = CONSTANTS.time_jitter / np.sqrt(number), CONSTANTS.decay_time / number
        time = np.linspace(-8 * sigma, 8 * sigma + 25 * decay, 400_001)
        density = exponnorm.pdf(time, decay / sigma, scale=sigma)
        slope = np.gradient(density, time)
        usable = density > 1e-30
        expected = np.trapezoid(slope[usable] ** 2 / density[usable], time[usable])
        assert time_information(np.array([number]), CONSTANTS)[0] == pytest.approx(expected, rel=2e-3)


def test_limits_of_the_time_information() -> None:
    """Jitter alone: n / jitter^2. A slow decay behind it: n^1.5 / (jitter decay), times the integral of phi^2 / Phi."""
    number = np.array([3.0, 100.0, 1e4])
    jitter = CONSTANTS.time_jitter
    fast, slow = (time_information(number, replace(CONSTANTS, decay_time=decay)) for decay in (1e-3, 1e6))
    np.testing.assert_allclose(fast, number / jitter**2, rtol=1e-3)
    np.testing.assert_allclose(slow, 0.903197 * number**1.5 / (jitter * 1e6), rtol=1e-3)


def test_without_jitter_there_is_no_bound(mini: Detector) -> None:
    with pytest.raises(ValueError, match="limits need a time_jitter above 0 ns, found 0"):
        simulate_events(mini, 1, limits=True, constants=replace(CONSTANTS, time_jitter=0.0))


# A charge


def test_charge_information_without_noise_is_that_of_a_count() -> None:
    mean = np.array([0.01, 0.3, 2.0, 50.0])
    np.testing.assert_allclose(charge_information(mean, ReadoutConstants(0.0, 0.0)), 1 / mean, rtol=1e-4)


@pytest.mark.parametrize("kind", ["mppc", "pmt"])
def test_charge_information_between_the_best_linear_estimate_and_a_count(kind: str) -> None:
    """Of many photo-electrons it is 1 / variance: that the variance changes too counts for nothing."""
    readout, mean = CONSTANTS.readout[kind], np.geomspace(0.01, 90, 15)
    found = charge_information(mean, readout)
    linear = 1 / (mean * (1 + readout.gain_spread**2) + readout.noise**2)
    assert (found > linear * (1 - 1e-6)).all()
    assert (found < 1 / mean).all()
    np.testing.assert_allclose(found[mean > 10], linear[mean > 10], rtol=1e-3)
    assert found[0] > 1.5 * linear[0]


def test_tables_follow_the_functions(mini: Detector) -> None:
    """Between the nodes too; the time is that of a Poisson number of photo-electrons."""
    information = ReadingInformation(mini, np.zeros(mini.num_sensors, dtype=bool), CONSTANTS)
    sensor = int(np.flatnonzero(mini.sensor_type == "pmt")[0])
    efficiency = mini.sensor_kinds["pmt"].efficiency
    mean = np.array([0.037, 0.9, 7.7, 210.0, 1500.0])
    charge, time = (values[:, sensor] for values in information(np.tile(mean[:, None], mini.num_sensors) / efficiency))
    np.testing.assert_allclose(charge / efficiency**2, charge_information(mean, CONSTANTS.readout["pmt"]), rtol=2e-3)
    number = np.random.default_rng(0).poisson(mean[:, None], (5, 400_000))
    drawn = np.where(number >= CONSTANTS.hit_threshold, time_information(number, CONSTANTS), 0).mean(axis=1)
    np.testing.assert_allclose(time[1:], drawn[1:], rtol=0.02)


# A shower


@pytest.mark.parametrize("uvw", [(2.0, 3.0, 12.0), (5.0, -11.0, 1.2)], ids=["middle", "near the wall"])
def test_bound_is_the_spread_of_a_maximum_likelihood_fit(mini: Detector, setup: Setup, uvw: tuple[float, ...]) -> None:
    """A point flash of 30 MeV, read out 600 times, all five parameters fitted from far off."""
    count, rng = 600, np.random.default_rng(1)
    truth = np.array([30.0, *mini.to_xyz(np.array(uvw)), 0.0])
    light, arrival = setup.light(flashes(truth[None]))
    readout = Readout(mini, dead_mask(mini, ()), CONSTANTS)
    many = np.repeat(light, count, axis=0), np.repeat(arrival, count, axis=0)
    readings = readout(rng, *many, np.arange(count), count)
    start = truth + np.array([3.0, 0.3, 0.3, 0.3, 0.2]) * rng.choice([-1, 1], (count, 5))
    pull = (fit(mini, setup, readings.npho, readings.time, start) - truth) / setup.bound(flashes(truth[None]))
    pull *= [1e-3, 1, 1, 1, 1e-9]
    np.testing.assert_allclose(pull.mean(axis=0), 0, atol=0.15)  # 0.04
    np.testing.assert_allclose(pull.std(axis=0), 1, atol=0.1)  # 0.03


def fit(detector: Detector, setup: Setup, npho: np.ndarray, time: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Energies, places and times (N, 5) that readings (N, S) are likeliest with: Fisher's scoring, from `values`."""
    kinds = [(detector.sensor_kinds[name].efficiency, CONSTANTS.readout[name]) for name in detector.sensor_type]
    efficiency = np.array([efficiency for efficiency, _ in kinds])
    gain, noise = (np.array([getattr(k, name) for _, k in kinds]) for name in ("gain_spread", "noise"))
    charge, steps = npho * efficiency, np.array([0.1, 0.05, 0.05, 0.05, 0.1])
    number = np.maximum(np.rint(charge), CONSTANTS.hit_threshold)
    sigma, decay = CONSTANTS.time_jitter / np.sqrt(number), CONSTANTS.decay_time / number
    for _ in range(8):
        light, arrival = (x.astype(float) for x in setup.light(flashes(values)))
        slopes = []
        for step in np.diag(steps):
            sides = zip(setup.light(flashes(values + step)), setup.light(flashes(values - step)), strict=True)
            slopes.append([(high.astype(float) - low) / (2 * step.max()) for high, low in sides])
        by_light, by_arrival = np.array(slopes).transpose(1, 2, 0, 3)  # [N, 5, S]
        by_charge, variance = by_light * efficiency, light * efficiency * (1 + gain**2) + noise**2
        z = (time - arrival) / sigma - sigma / decay
        score = 1 / decay - np.exp(norm.logpdf(z) - log_ndtr(z)) / sigma
        total = (by_charge * ((charge - light * efficiency) / variance)[:, None]).sum(axis=2)
        total -= (by_arrival * np.nan_to_num(-score)[:, None]).sum(axis=2)
        weight = time_information(number, CONSTANTS) * np.isfinite(time)
        matrix = (by_charge / variance[:, None]) @ by_charge.swapaxes(1, 2)
        matrix += (by_arrival * weight[:, None]) @ by_arrival.swapaxes(1, 2)
        values = values + np.linalg.solve(matrix, total[..., None])[..., 0]
    return values


@pytest.mark.parametrize("mirror", [[1, 1, -1], [1, -1, 1]], ids=["z", "y"])
def test_mirrored_showers_are_known_as_well(mini: Detector, setup: Setup, mirror: list[int]) -> None:
    showers = cloud(mini)
    image = replace(showers, position=showers.position * mirror, centroid=showers.centroid * mirror)
    np.testing.assert_allclose(setup.bound(image), setup.bound(showers), rtol=1e-3)


def test_twice_the_light_halves_the_variance(mini: Detector) -> None:
    """Of energy and centroid, where nothing but the number of photons fluctuates and times say nothing."""
    readout = {kind: ReadoutConstants(0.0, 0.0) for kind in CONSTANTS.readout}
    constants = replace(CONSTANTS, readout=readout, time_jitter=1e4)
    once, twice = (Setup(mini, replace(constants, light_yield=light)).bound(cloud(mini))[:, :4] for light in (4e4, 8e4))
    np.testing.assert_allclose(once**2 / twice**2, 2, rtol=1e-3)


def test_sensors_add_up_and_dead_ones_give_nothing(mini: Detector, setup: Setup) -> None:
    showers = cloud(mini)
    parts = [Setup(mini, dead=tuple(range(start, mini.num_sensors, 2))).information(showers) for start in (0, 1)]
    np.testing.assert_allclose(parts[0] + parts[1], setup.information(showers), rtol=1e-6)
    assert np.isnan(Setup(mini, dead=tuple(range(mini.num_sensors))).bound(showers)).all()


def test_bound_does_not_depend_on_the_clock_or_the_scale_of_time(mini: Detector, setup: Setup) -> None:
    showers = cloud(mini)
    late = replace(showers, time=showers.time + 50)
    np.testing.assert_allclose(setup.bound(late), setup.bound(showers), rtol=1e-3)


def test_deposits_at_the_wall_stay_inside(meg2: Detector) -> None:
    """Light does not get lost where the step leads out of the xenon: a smaller step gives the same."""
    uvw = np.abs(np.random.default_rng(3).normal([2.0, 3.0, 0.0], [1.5, 1.5, 0.5], (4, 64, 3)))
    position, setup = meg2.to_xyz(uvw + np.array([0, 0, 0.004])), Setup(meg2)
    assert (setup.volume.depth(position) < 0.05).any(axis=1).all()
    showers = Showers(position, np.full((4, 64), 0.5), np.zeros((4, 64)), np.full(4, 32.0), position.mean(axis=1))
    energy = setup.bound(showers)[:, 0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("xecgnn.simulation.limits._STEP", 0.02)
        np.testing.assert_allclose(energy, setup.bound(showers)[:, 0], rtol=0.03)


# Events


def test_other_columns_are_those_without_limits(mini: Detector) -> None:
    plain, events = (simulate_events(mini, 48, seed=7, limits=limits) for limits in (False, True))
    assert set(events.fields) - set(plain.fields) == set(REFERENCES)
    assert events.select(*plain.fields) == plain
    for name in REFERENCES:
        assert np.isfinite(events[name]).all(), name
    assert (events.limit_edepTruth < 0.02 * events.edepTruth).mean() > 0.9
    np.testing.assert_allclose(np.linalg.norm(events.deposits_emiVec, axis=1), 1, rtol=1e-5)


def test_without_light_nothing_is_known(mini: Detector) -> None:
    events = simulate_events(mini, 4, limits=True, constants=replace(CONSTANTS, light_yield=0.0))
    assert np.isnan(np.column_stack([events[name] for name in REFERENCES[:3]])).all()


def test_direction_of_the_deposits(mini: Detector) -> None:
    """That of the near ones; what lies outside the xenon, and photons without a step, have none."""
    first = mini.to_xyz(np.array([[0.0, 0.0, 5.0]] * 2))
    ahead, aside, outside = np.array([[-0.5, 0, 0], [0, 0, 30.0], [40.0, 0, 0]])
    steps = Steps(np.zeros(3, dtype=np.int64), first[0] + [ahead, aside, outside], np.ones(3), np.zeros(3))
    found = deposit_direction(steps, first, XenonVolume(mini))
    np.testing.assert_allclose(found[0], [-1, 0, 0], atol=1e-4)
    assert np.isnan(found[1]).all()


def test_command(tmp_path, capsys, caplog) -> None:
    path = tmp_path / "limits.root"
    main(["--detector", "mini", "--events", "32", "--limits", "--output", str(path)])
    assert "limits take about 0.3 ms more of a core per event, 0 s for 32 on 1 cores" in caplog.text
    events = Events.read(path, ["reference"])
    assert set(events.fields) == set(REFERENCES)
    with pytest.raises(SystemExit):
        main(["--limits", "--pileup", "--output", str(tmp_path / "b.root")])
    assert "--limits excludes --pileup" in capsys.readouterr().err
    with pytest.raises(ValueError, match="events of one photon: not with pileup"):
        simulate_events(Detector, 1, limits=True, pileup=True)
