from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from xecgnn.simulation import simulate_showers
from xecgnn.simulation.cascade import FreeShowers, develop
from xecgnn.simulation.electrons import ElectronSteps, annihilate, annihilation_share
from xecgnn.simulation.particles import Particles, deflect, frame, rotated
from xecgnn.simulation.photons import compton_share, interact, pair_share
from xecgnn.simulation.xenon import ELECTRON_MASS, klein_nishina

COUNT = 4000
# Geant4 11.4.1, unbounded liquid xenon: 10 000 events with Urban's multiple scattering, 5 000 with WVI; cm and degrees.
GEANT4 = {
    20.0: {
        "path": (7.04, 7.04),
        "depth": (2.70, 2.74),
        "depth_median": (1.79, 1.80),
        "depth_rms": (3.02, 2.96),
        "z50": (0.845, 0.836),
        "z90": (8.34, 8.61),
        "R50": (0.570, 0.570),
        "R90": (6.43, 6.38),
        "off_axis": (1.59, 1.58),
        "angle50": (27.8, 28.1),
        "angle68": (38.8, 39.2),
        "angle90": (66.2, 63.8),
        "far": (0.194, 0.196),
    },
    52.83: {
        "path": (5.47, 5.47),
        "depth": (5.57, 5.67),
        "depth_median": (5.03, 4.96),
        "depth_rms": (2.87, 2.99),
        "z50": (2.64, 2.66),
        "z90": (15.29, 15.55),
        "R50": (1.01, 1.01),
        "R90": (8.05, 8.00),
        "off_axis": (2.02, 2.03),
        "angle50": (15.9, 16.1),
        "angle68": (21.6, 21.8),
        "angle90": (35.4, 34.6),
        "far": (0.324, 0.323),
    },
}


def by_event(showers: FreeShowers, values: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Sums of `values` (D,) over the deposits of each of `count` events."""
    return np.bincount(showers.event, values, count)


def figures(showers: FreeShowers, count: int) -> dict[str, float]:
    """The rows of the reference for `count` showers."""
    energy = by_event(showers, showers.energy, count)
    sums = [by_event(showers, showers.energy * showers.position[:, axis], count) for axis in range(3)]
    x, y, z = (total / energy for total in sums)
    off_axis = np.hypot(x, y)
    angle = np.degrees(np.arctan2(off_axis, z))
    along, across = showers.position[:, 2], np.hypot(showers.position[:, 0], showers.position[:, 1])
    away = np.hypot(across, along - z[showers.event]) > 6
    return {
        "path": showers.path.mean(),
        "depth": z.mean(),
        "depth_median": np.median(z),
        "depth_rms": z.std(),
        "z50": weighted_quantile(along, showers.energy, 0.5),
        "z90": weighted_quantile(along, showers.energy, 0.9),
        "R50": weighted_quantile(across, showers.energy, 0.5),
        "R90": weighted_quantile(across, showers.energy, 0.9),
        "off_axis": np.quantile(off_axis, 0.68),
        "angle50": np.quantile(angle, 0.5),
        "angle68": np.quantile(angle, 0.68),
        "angle90": np.quantile(angle, 0.9),
        "far": (by_event(showers, showers.energy * away, count) / energy).mean(),
    }


def weighted_quantile(values: NDArray[np.float64], weights: NDArray[np.float64], share: float) -> float:
    order = np.argsort(values)
    cumulative = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(cumulative, share * cumulative[-1])])


@pytest.fixture(scope="module", params=[20.0, 52.83], ids=["20 MeV", "52.83 MeV"])
def reference(request: pytest.FixtureRequest) -> tuple[float, FreeShowers]:
    return request.param, simulate_showers(np.full(COUNT, request.param), seed=1)


def test_agrees_with_geant4(reference: tuple[float, FreeShowers]) -> None:
    """Every figure lies between those of Urban and WVI, or within max(5 %, 3 sigma) of one of them."""
    energy, showers = reference
    found = figures(showers, COUNT)
    parts = []  # statistical errors: spread of ten tenths
    for part in range(10):
        first, last = np.searchsorted(showers.event, [part * COUNT // 10, (part + 1) * COUNT // 10])
        columns = (column[first:last] for column in showers[:3])
        event, position, deposit = columns
        path = showers.path[part * COUNT // 10 : (part + 1) * COUNT // 10]
        parts.append(figures(FreeShowers(event - part * COUNT // 10, position, deposit, path), COUNT // 10))
    for name, expected in GEANT4[energy].items():
        low, high = min(expected), max(expected)
        sigma = np.std([figure[name] for figure in parts], ddof=1) / np.sqrt(10)
        assert low - max(0.05 * low, 3 * sigma) <= found[name] <= high + max(0.05 * high, 3 * sigma), name


def test_energy_is_conserved(reference: tuple[float, FreeShowers]) -> None:
    energy, showers = reference
    np.testing.assert_allclose(by_event(showers, showers.energy, COUNT), energy, rtol=1e-6)
    assert (showers.energy > 0).all()


def test_nothing_knows_an_azimuth(reference: tuple[float, FreeShowers]) -> None:
    """Showers are symmetric around the photon's axis: means of x, y, xy and x^2 - y^2 vanish."""
    _, showers = reference
    x, y, _ = showers.position.T
    near = np.exp(-np.hypot(x, y) / 3)  # a few deposits far away would rule
    for moment in (x, y, x * y, x * x - y * y):
        values = by_event(showers, showers.energy * near * moment, COUNT)
        assert abs(values.mean()) < 4 * values.std() / np.sqrt(COUNT)


def test_same_seed_same_showers() -> None:
    energy = np.random.default_rng(0).uniform(15, 60, 40)
    first, again, other = (simulate_showers(energy, seed) for seed in (3, 3, 4))
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, two)
    assert not np.array_equal(first.path, other.path)
    assert (np.diff(first.event) >= 0).all()
    assert set(first.event) == set(range(40))
    assert first.path.shape == (40,)
    assert first.position.shape == (len(first.event), 3)


def test_other_shapes_of_energies() -> None:
    assert simulate_showers(30.0).path.shape == (1,)
    none = simulate_showers([])
    assert [len(column) for column in none] == [0, 0, 0, 0]
    with pytest.raises(ValueError, match=r"must be 1 to 100 MeV, found 0\.0528"):
        simulate_showers([20.0, 0.0528])
    with pytest.raises(ValueError, match="found nan"):
        simulate_showers([np.nan])


def test_deposits_lie_along_tracks() -> None:
    """In the order of the tracks a step is short; time never runs back on a track, nor beyond the light."""
    deposits = develop(np.random.default_rng(2), np.full(200, 50.0))
    same = (np.diff(deposits.track) == 0) & (np.diff(deposits.event) == 0)
    step = np.linalg.norm(np.diff(deposits.position, axis=0), axis=1)
    assert same.mean() > 0.8
    assert step[same].max() <= 0.2 + 1e-9  # two hinges on two steps of 1 mm
    assert (np.diff(deposits.path)[same] >= 0).all()
    assert (deposits.path + 0.1 + 1e-9 >= np.linalg.norm(deposits.position, axis=1)).all()  # path: start of the step


def particles(count: int, energy: float, charge: int) -> Particles:
    return Particles(
        event=np.arange(count),
        track=np.arange(count),
        charge=np.full(count, charge),
        position=np.zeros((count, 3)),
        direction=np.tile([0.0, 0.0, 1.0], (count, 1)),
        energy=np.full(count, energy),
        path=np.zeros(count),
    )


@pytest.mark.parametrize("energy", [0.1, 1.0, 20.0])
def test_compton_scattering_is_klein_nishinas(energy: float) -> None:
    """Mean energy kept by the photon: the integral of dsigma/dcos times the share over the closed form of sigma."""
    cosine = np.linspace(-1, 1, 200_001)
    share = 1 / (1 + energy / ELECTRON_MASS * (1 - cosine))
    differential = share**2 * (share + 1 / share - (1 - cosine**2))  # in r_e^2 / 2
    total = np.trapezoid(differential, cosine)
    assert np.pi * (2.8179403e-13) ** 2 * total == pytest.approx(float(klein_nishina(energy)), rel=1e-5)
    expected = np.trapezoid(differential * share, cosine) / total
    found = compton_share(np.random.default_rng(0), np.full(40_000, energy))
    assert found.mean() == pytest.approx(expected, abs=4 * found.std() / 200)
    assert found.min() >= 1 / (1 + 2 * energy / ELECTRON_MASS) - 1e-12


def test_interactions_conserve_energy_and_momentum() -> None:
    """Momentum only where no nucleus takes part: Compton."""
    photons = particles(20_000, 3.0, 0)
    scattered, made, left = interact(np.random.default_rng(1), photons)
    rest = np.where(np.bincount(made.event, minlength=20_000) == 2, 2 * ELECTRON_MASS, 0)  # of a pair
    energy = np.bincount(made.event, made.energy, 20_000) + np.bincount(scattered.event, scattered.energy, 20_000)
    np.testing.assert_allclose(energy + left + rest, 3.0, rtol=1e-12)
    recoil = made.pick(np.isin(made.event, scattered.event))
    p = np.sqrt(recoil.energy * (recoil.energy + 2 * ELECTRON_MASS))
    total = scattered.energy[:, None] * scattered.direction + p[:, None] * recoil.direction
    np.testing.assert_allclose(total, np.tile([0.0, 0.0, 3.0], (len(p), 1)), atol=1e-9)
    assert set(made.charge) == {-1, 1}
    assert (scattered.charge == 0).all()


def test_pairs_share_energy_as_bethe_and_heitler_say() -> None:
    """Equal shares are the most frequent at low energy and the rarest of all but the smallest at high energy."""
    for energy, low, high in ((5.0, 2.0, 3.0), (100.0, 0.85, 0.97)):
        share = pair_share(np.random.default_rng(0), np.full(40_000, energy))
        least = ELECTRON_MASS / energy
        assert least <= share.min() <= share.max() <= 1 - least
        assert share.mean() == pytest.approx(0.5, abs=4 * share.std() / 200)
        middle, sides = (np.abs(share - 0.5) < 0.05).mean(), (np.abs(np.abs(share - 0.5) - 0.35) < 0.05).mean() / 2
        assert low < middle / sides < high


@pytest.mark.parametrize("kinetic", [0.0, 0.5, 20.0])
def test_annihilation_conserves_energy_and_momentum(kinetic: float) -> None:
    positrons = particles(5000, kinetic, 1)
    photons = annihilate(np.random.default_rng(0), positrons)
    assert photons.size == 10_000
    momentum = photons.energy[:, None] * photons.direction
    total = momentum[:5000] + momentum[5000:]
    expected = np.sqrt(kinetic * (kinetic + 2 * ELECTRON_MASS))
    np.testing.assert_allclose(photons.energy[:5000] + photons.energy[5000:], kinetic + 2 * ELECTRON_MASS, rtol=1e-12)
    np.testing.assert_allclose(total, np.tile([0.0, 0.0, expected], (5000, 1)), atol=2e-3)
    if kinetic == 0:  # back to back, anywhere
        np.testing.assert_allclose(photons.energy, ELECTRON_MASS, rtol=1e-2)
        assert abs(photons.direction[:5000].mean(axis=0)).max() < 4 / np.sqrt(3 * 5000)
        assert (photons.direction[:5000, 2] ** 2).mean() == pytest.approx(1 / 3, abs=0.02)
    share = annihilation_share(np.random.default_rng(1), np.full(5000, max(kinetic, 1e-6)))
    root = np.sqrt(kinetic / (kinetic + 2 * ELECTRON_MASS))
    assert (1 - root) / 2 - 1e-3 <= share.min()
    assert share.max() <= (1 + root) / 2 + 1e-3


def test_electrons_lose_what_the_tables_say() -> None:
    """Mean loss over a first step: collisions and all bremsstrahlung."""
    steps = ElectronSteps(cut=0.05, stop=0.1, longest=0.1)
    electrons = particles(20_000, 20.0, -1)
    done = steps(np.random.default_rng(0), electrons)
    given = 20.0 * 20_000
    length = done.going.path
    radiated = done.photons.energy.sum()
    np.testing.assert_allclose(done.going.energy.sum() + done.deposit.sum() + radiated, given, rtol=1e-12)
    lost = done.deposit.sum() + radiated
    expected = 2.95 * (1.435 + 1.897) * length.sum()  # MeV/cm: collision and radiative stopping power at 20 MeV
    assert lost == pytest.approx(expected, rel=0.04)  # a few photons carry much of it
    assert length.max() <= 0.1


def test_scattering_does_not_depend_on_the_step() -> None:
    """Mean cosine after 1 mm at 10 MeV: half steps give the same, and exp(-path / transport length) holds."""
    cosines = []
    for longest, count in ((0.1, 1), (0.05, 2)):
        steps = ElectronSteps(cut=0.05, stop=0.1, longest=longest)
        rng = np.random.default_rng(3)
        todo, done = particles(20_000, 10.0, -1), []
        while todo.size:
            todo = steps(rng, todo).going
            arrived = todo.path >= 0.1 - 1e-9
            done.append(todo.direction[arrived, 2])
            todo = todo.pick(~arrived)
        assert count
        cosines.append(np.concatenate(done))
    first, second = cosines
    error = np.hypot(first.std() / np.sqrt(len(first)), second.std() / np.sqrt(len(second)))
    assert abs(first.mean() - second.mean()) < 4 * error + 0.003


def test_directions_turn_by_the_angle() -> None:
    rng = np.random.default_rng(0)
    direction = rng.normal(size=(1000, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    direction[:3] = [[0, 0, 1], [0, 0, -1], [1, 0, 0]]
    side, up = frame(direction)
    np.testing.assert_allclose(np.cross(side, up), direction, atol=1e-12)
    cosine = rng.uniform(-1, 1, 1000)
    turned = deflect(direction, cosine, rng.uniform(-np.pi, np.pi, 1000))
    np.testing.assert_allclose((turned * direction).sum(axis=1), cosine, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(turned, axis=1), 1, atol=1e-12)
    vectors = rng.normal(size=(1000, 3))
    np.testing.assert_allclose(np.linalg.norm(rotated(vectors, direction), axis=1), np.linalg.norm(vectors, axis=1))
