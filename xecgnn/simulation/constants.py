"""Every physical constant of the Monte Carlo, in one place. Inside the simulation: cm, ns, MeV."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["SPEED_OF_LIGHT", "Constants", "ReadoutConstants"]

SPEED_OF_LIGHT = 29.9792458  # cm/ns


@dataclass(frozen=True)
class ReadoutConstants:
    """Charge measurement of one kind of sensor, in photo-electrons."""

    gain_spread: float  # relative spread of the charge of a single photo-electron
    noise: float  # electronics noise of the charge


@dataclass(frozen=True)
class Constants:
    """Physics of the Monte Carlo; `dataclasses.replace` makes variants. Sources: MEG II design and performance papers
    (arXiv:1801.04688, arXiv:2310.11902) where nothing else is said; "chosen" marks a plausible value without a source.
    """

    # Photons
    energy_range: tuple[float, float] = (15.0, 60.0)  # MeV, of the uniform sample
    max_angle: float = 45.0  # deg, largest angle to the local normal in the uniform sample
    signal_energy: float = 52.83  # MeV, half the muon mass
    target_half_length: float = 13.5  # cm, ellipse of the muon-stopping target, along the slanted axis
    target_half_height: float = 3.3  # cm, the same ellipse along y
    target_slant: float = 15.0  # deg between target and beam axis, about y
    beam_sigma: float = 1.1  # cm, spread of the beam spot in x and y
    time_spread: float = 10.0  # ns, photons start uniformly within +- this of the trigger (chosen)
    max_photons: int = 4  # per event with pile-up; 0 to this, equally often (chosen: balanced classes)

    # Light
    num_deposits: int = 64  # of equal energy, stand for one shower in the light
    light_yield: float = 4.0e4  # photons per MeV
    light_speed: float = 18.6  # cm/ns, 175 nm in liquid xenon
    absorption_length: float = 200.0  # cm; above 100 after purification (chosen)
    scattering_length: float = 33.0  # cm, Rayleigh; 30 to 36 measured

    # Readout
    decay_time: float = 45.0  # ns, recombination: the slowest and for electrons the dominant component
    time_jitter: float = 1.5  # ns for one photo-electron, falls with their square root (chosen)
    hit_threshold: int = 3  # photo-electrons from one photon that a sensor needs for a time (chosen)
    readout: dict[str, ReadoutConstants] = field(
        default_factory=lambda: {
            "mppc": ReadoutConstants(gain_spread=0.15, noise=1.0),  # chosen: four chips in series, crosstalk
            "pmt": ReadoutConstants(gain_spread=0.4, noise=0.5),  # chosen: few dynodes, gain 1e6
        }
    )
