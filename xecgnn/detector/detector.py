"""The detector: faces, positions, seams, coordinates, and the hash that a trained model must agree with."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.resources import files
from os import PathLike
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from xecgnn.arrays import Floats, Ints
from xecgnn.detector import coordinates
from xecgnn.detector.description import Description, parse_description
from xecgnn.detector.face import Face, SensorKind, build_face
from xecgnn.detector.lattice import nearest_pairs
from xecgnn.detector.survey import read_survey
from xecgnn.table import Table

__all__ = ["Detector", "load_detector"]

MIRROR_TOLERANCE = 0.01  # cm
Seams = dict[tuple[str, str], Ints]


@dataclass(frozen=True, eq=False, repr=False)
class Detector:
    """All that the package knows about a detector. S sensors; lengths in cm; arrays are not to be edited.

    Everything but `position` and `normal` follows from the YAML text: a survey moves sensors, it does not change who is
    whose neighbour, nor the hash.
    """

    name: str
    position: Floats  # [S, 3]
    normal: Floats  # [S, 3] unit vectors into the xenon
    sensor_type: NDArray[np.str_]  # [S] key of sensor_kinds
    sensor_kinds: dict[str, SensorKind]
    faces: dict[str, Face]  # in the order of the network's tokens
    radius: float  # R of u, v, w
    phi_opening: float  # deg
    yaml: str  # source text; `from_yaml` of it gives the nominal detector again
    hash: str  # sha256 over faces, ids, layouts and edges
    _seams: Seams = field(default_factory=dict)

    @classmethod
    def from_yaml(cls, text: str, source: str = "detector") -> Detector:
        """Build from YAML text; `source` is named in errors (ValueError, one line)."""
        entry = parse_description(text, source)
        built = {name: build_face(name, face, np.radians(entry.phi_opening)) for name, face in entry.faces.items()}
        faces = {name: face for name, (face, _, _) in built.items()}
        ids = np.concatenate([face.sensor_ids for face in faces.values()])
        _check_partition(faces, source)

        def by_id(values: Sequence[np.ndarray]) -> np.ndarray:
            return np.concatenate(values)[np.argsort(ids)]

        position = by_id([position for _, position, _ in built.values()])
        seams = _seams(entry, faces, position)
        return cls(
            name=entry.name,
            position=position,
            normal=by_id([normal for _, _, normal in built.values()]),
            sensor_type=by_id([np.full(len(face), face.sensor) for face in faces.values()]),
            sensor_kinds={name: SensorKind(**sensor.model_dump()) for name, sensor in entry.sensors.items()},
            faces=faces,
            radius=entry.radius,
            phi_opening=entry.phi_opening,
            yaml=text,
            hash=_hash(faces, seams),
            _seams=seams,
        )

    @property
    def num_sensors(self) -> int:
        return len(self.position)

    @cached_property
    def sizes(self) -> Floats:
        """Half width or radius of the active areas (S,) in cm."""
        return np.array([self.sensor_kinds[kind].size for kind in self.sensor_type])

    @cached_property
    def areas(self) -> Floats:
        """Active areas (S,) in cm2."""
        return np.array([self.sensor_kinds[kind].area for kind in self.sensor_type])

    def edge_index(self, face: str, relation: str) -> Ints:
        """Edges (2, num_edges) of a face in face-local ids, [0] = source, [1] = target, self edges included."""
        return self._face(face, relation).edge_index

    def edge_type(self, face: str, relation: str) -> Ints:
        """Tap (num_edges,) of each edge: where the source lies as seen from the target (see `lattice`)."""
        return self._face(face, relation).edge_type

    def seams(self) -> Seams:
        """Edges between touching faces: {(source face, target face): (2, num_edges)} in face-local ids.

        On the two sides that touch, every sensor of either face is joined to the nearest of the other, or to all that
        are equally near. Both orders of a pair are keys, and hold the same edges the other way round.
        """
        return dict(self._seams)

    def to_uvw(self, xyz: ArrayLike) -> Floats:
        """(..., 3) cm to u (along z), v (along the inner arc), w (depth behind the inner face), (..., 3) cm."""
        return coordinates.xyz_to_uvw(xyz, self.radius)

    def to_xyz(self, uvw: ArrayLike) -> Floats:
        """Inverse of `to_uvw`."""
        return coordinates.uvw_to_xyz(uvw, self.radius)

    def mirrored(self, axis: Literal["y", "z"]) -> Ints:
        """Sensor (S,) that stands where each one is after `axis` -> -`axis`, of the nominal positions.

        Raises:
            ValueError: the detector is not its own mirror image.
        """
        nominal = Detector.from_yaml(self.yaml).position
        image = nominal * np.where(np.array(list("xyz")) == axis, -1.0, 1.0)
        distance, ids = cKDTree(nominal).query(image)
        if distance.max() > MIRROR_TOLERANCE:
            worst = int(distance.argmax())
            raise ValueError(
                f"detector {self.name} is no mirror image of itself in {axis}: "
                f"sensor {worst} has none within {MIRROR_TOLERANCE} cm"
            )
        return ids.astype(np.int64)

    def with_survey(self, path: str | PathLike[str]) -> Detector:
        """A new detector with positions (cm) and normals of the sensors in a survey file (see `read_survey`)."""
        ids, surveyed_position, surveyed_normal = read_survey(path, self.num_sensors)
        position, normal = self.position.copy(), self.normal.copy()
        position[ids], normal[ids] = surveyed_position, surveyed_normal
        return replace(self, position=position, normal=normal)

    def summary(self) -> str:
        """Table of the faces in Markdown: sensors, ids, layout."""
        table = Table(["face", "sensors", "ids", "layout"])
        for face in self.faces.values():
            layout = f"{face.layout} {' x '.join(map(str, face.coarse_shape or face.shape))}"
            if face.layout == "hex":
                layout = f"hex, rows of {', '.join(map(str, face.shape))}"
            if face.block is not None:
                layout += f", block of {' x '.join(map(str, face.block.shape))}"
            table.add(face.name, f"{len(face)} {face.sensor}", _ranges(face.sensor_ids), layout)
        return table.markdown()

    def __repr__(self) -> str:
        return f"Detector({self.name}: {self.num_sensors} sensors, {', '.join(self.faces)}, hash {self.hash[:8]})"

    def _face(self, name: str, relation: str) -> Face:
        if name not in self.faces:
            raise KeyError(f"no face {name!r} in {self.name}; faces: {', '.join(self.faces)}")
        face = self.faces[name]
        if relation != face.layout:
            raise KeyError(f"face {name!r} has no relation {relation!r}; it has {face.layout!r}")
        return face


def load_detector(name_or_path: str | PathLike[str], survey: str | PathLike[str] | None = None) -> Detector:
    """A shipped detector by name ("meg2", "mini"), or one from the path of a YAML file; with surveyed positions.

    Raises:
        FileNotFoundError: neither a shipped name nor a file; no such survey.
        ValueError: a file does not describe a detector, or not its positions.
    """
    if survey:
        return load_detector(name_or_path).with_survey(survey)
    shipped = {Path(item.name).stem: item for item in files("xecgnn").joinpath("geometry").iterdir()}
    if str(name_or_path) in shipped:
        return Detector.from_yaml(shipped[str(name_or_path)].read_text(encoding="utf-8"), f"detector {name_or_path}")
    path = Path(name_or_path)
    if not path.is_file():
        raise FileNotFoundError(f"no detector {str(path)!r}: neither a file nor one of {', '.join(sorted(shipped))}")
    return Detector.from_yaml(path.read_text(encoding="utf-8"), str(path))


def _check_partition(faces: dict[str, Face], source: str) -> None:
    """Every id 0 .. S-1 belongs to exactly one sensor."""
    owner: dict[int, str] = {}
    for face in faces.values():
        for sensor in face.sensor_ids.tolist():
            if sensor in owner:
                raise ValueError(f"{source}: sensor id {sensor} appears twice, in {owner[sensor]} and {face.name}")
            owner[sensor] = face.name
    missing = sorted(set(range(len(owner))) - owner.keys())
    if missing:
        raise ValueError(f"{source}: sensor ids must be 0 to {len(owner) - 1}, {missing[0]} is missing")


def _seams(entry: Description, faces: dict[str, Face], position: Floats) -> Seams:
    seams: Seams = {}
    for seam in entry.seams:
        (a, side_a), (b, side_b) = seam.items()
        ids_a, ids_b = faces[a].sides[side_a], faces[b].sides[side_b]
        near_a, near_b = nearest_pairs(position[faces[a].sensor_ids[ids_a]], position[faces[b].sensor_ids[ids_b]])
        edges = np.stack([ids_a[near_a], ids_b[near_b]])
        seams[a, b], seams[b, a] = edges, edges[::-1][:, np.lexsort(edges[::-1])]
    return seams


def _hash(faces: dict[str, Face], seams: Seams) -> str:
    """sha256 (hex) over what a trained model relies on: faces in order, ids, layouts, edges; no positions."""
    digest = hashlib.sha256()

    def add(label: str, *arrays: Ints) -> None:
        digest.update(f"{label} {[array.shape for array in arrays]};".encode())
        for array in arrays:
            digest.update(np.ascontiguousarray(array, dtype="<i8").tobytes())

    for face in faces.values():
        label = f"{face.name} {face.layout} {face.shape} {face.coarse_shape}"
        add(label, face.sensor_ids, face.edge_index, face.edge_type)
        if face.cells is not None:
            add("cells", face.cells)
    for (a, b), edges in sorted(seams.items()):
        add(f"{a}-{b}", edges)
    return digest.hexdigest()


def _ranges(ids: Ints) -> str:
    parts = np.split(ids, np.flatnonzero(np.diff(ids) != 1) + 1)
    return ", ".join(f"{part[0]}-{part[-1]}" for part in parts)
