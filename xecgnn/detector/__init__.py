"""The detector as data: a YAML file of few numbers becomes positions, faces, neighbours and seams (NumPy only)."""

from __future__ import annotations

from xecgnn.detector.detector import Detector, load_detector
from xecgnn.detector.face import Block, Face, SensorKind
from xecgnn.directions import angles_to_direction, direction_to_angles

__all__ = [
    "Block",
    "Detector",
    "Face",
    "SensorKind",
    "angles_to_direction",
    "direction_to_angles",
    "load_detector",
]
