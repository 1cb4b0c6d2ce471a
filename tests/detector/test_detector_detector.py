"""MEG II against the closed forms of its nominal geometry; both detectors against their symmetries."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys

import numpy as np
import pytest
import yaml
from scipy.spatial import cKDTree

from xecgnn.detector import Detector, load_detector

PHI = 125.52
COUNTS = {"inner": 4092, "us": 144, "ds": 144, "outer": 234, "top": 73, "bottom": 73}
BLOCK = [
    [4185, 4742, 4186, 4743, 4187],
    [4744, 4745, 4746, 4747, 4748],
    [4194, 4749, 4195, 4750, 4196],
    [4203, 4751, 4204, 4752, 4205],
    [4753, 4754, 4755, 4756, 4757],
    [4212, 4758, 4213, 4759, 4214],
]


@pytest.fixture(params=["meg2", "mini"])
def detector(request: pytest.FixtureRequest) -> Detector:
    return request.getfixturevalue(request.param)


def xyz(r: float, phi: float, z: float) -> list[float]:
    return [r * np.cos(np.radians(phi)), r * np.sin(np.radians(phi)), z]


def expected_position(i: int) -> list[float]:
    """Position of MEG II sensor `i`, written independently of the package."""
    block = {sensor: (a, b) for a, row in enumerate(BLOCK) for b, sensor in enumerate(row)}
    start = 180 - PHI / 2
    if i < 4092:
        return xyz(64.97, start + (i // 44 + 0.5) * PHI / 93, (i % 44 - 21.5) * 1.50977)
    if i in block:
        a, b = block[i]
        return xyz(106.27, 180 + (a - 2.5) * PHI / 36, (b - 2) * 6.2)
    if i < 4308:
        row, col = divmod(i - 4092, 9)
        return xyz(106.27, start + (row + 0.5) * PHI / 24, (col - 4) * 10.356)
    if i < 4596:
        row, col = divmod((i - 4308) % 144, 6)
        side = -1 if i < 4452 else 1
        return xyz(69.53 + 6.684 * col, start + (row + 0.5) * PHI / 24, side * (35.1547 + 2.3369 * col))
    n, phi = (i - 4596) % 73, start if i < 4669 else 180 + PHI / 2
    for row, length in enumerate([11, 12, 11, 12, 13, 14]):
        if n < length:
            return xyz(68.27 + 6.91 * row, phi, (n - (length - 1) / 2) * 6.12)
        n -= length
    raise AssertionError(i)


def lengths(detector: Detector, face: str) -> np.ndarray:
    """Length (cm) of every edge of a face but the self edges."""
    source, target = detector.edge_index(face, detector.faces[face].layout)
    position = detector.position[detector.faces[face].sensor_ids]
    return np.linalg.norm(position[source] - position[target], axis=1)[source != target]


def test_positions_are_the_nominal_ones(meg2: Detector) -> None:
    np.testing.assert_allclose(meg2.position, [expected_position(i) for i in range(4760)], atol=1e-10)


def test_faces_partition_the_ids(meg2: Detector) -> None:
    assert list(meg2.faces) == ["inner", "us", "ds", "outer", "top", "bottom"]
    assert {name: len(face) for name, face in meg2.faces.items()} == COUNTS
    ids = np.concatenate([face.sensor_ids for face in meg2.faces.values()])
    np.testing.assert_array_equal(np.sort(ids), np.arange(4760))
    assert all(np.all(np.diff(face.sensor_ids) > 0) for face in meg2.faces.values())
    np.testing.assert_array_equal(np.flatnonzero(meg2.sensor_type == "mppc"), np.arange(4092))


def test_dense_block(meg2: Detector) -> None:
    outer = meg2.faces["outer"]
    assert (outer.shape, outer.coarse_shape) == ((72, 45), (24, 9))
    np.testing.assert_array_equal(outer.sensor_ids[outer.block.local_ids].reshape(6, 5), BLOCK)
    cells = outer.cells[outer.block.local_ids]
    assert [cells[:, 0].min(), cells[:, 1].max(), cells[:, 2].min(), cells[:, 3].max()] == [30, 42, 15, 30]
    covered = (outer.cells[:, 1] - outer.cells[:, 0]) * (outer.cells[:, 3] - outer.cells[:, 2])
    assert np.all(np.delete(covered, outer.block.local_ids) == 15)
    assert np.all(covered[outer.block.local_ids] == 6)
    assert covered.sum() == 72 * 45


def test_cells_lie_where_their_sensors_are(detector: Detector) -> None:
    for face in detector.faces.values():
        if face.cells is None:
            continue
        uvw = detector.to_uvw(detector.position[face.sensor_ids])
        v = (1 - (face.cells[:, 0] + face.cells[:, 1]) / face.shape[0]) * np.radians(detector.phi_opening / 2)
        np.testing.assert_allclose(uvw[:, 1] / detector.radius, v, atol=1e-12)
        if face.name in ("inner", "outer"):  # columns run along z; the block has a pitch of its own
            middle = (face.cells[:, 2] + face.cells[:, 3]) / 2 - face.shape[1] / 2
            assert np.corrcoef(middle, uvw[:, 0])[0, 1] > 0.99999


def test_hex_faces_of_meg2(meg2: Detector) -> None:
    for name in ("top", "bottom"):
        length = lengths(meg2, name)
        assert len(length) == 366
        assert set(np.round(length, 2)) == {6.12, 7.56}
        neighbors = meg2.faces[name].neighbors
        degree = np.sum(neighbors[:, 1:] >= 0, axis=1)
        assert (degree.min(), degree.max(), np.sum(degree == 6)) == (2, 6, 40)
        # Exactly the pairs by distance: nobody else comes within 9 cm.
        position = meg2.position[meg2.faces[name].sensor_ids]
        assert 2 * len(cKDTree(position).query_pairs(9.0)) == 366


def test_nearest_neighbours_of_the_inner_face(meg2: Detector) -> None:
    position = meg2.position[:4092]
    source, target = meg2.edge_index("inner", "lattice")
    length = np.linalg.norm(position[source] - position[target], axis=1)
    tap = meg2.edge_type("inner", "lattice")
    np.testing.assert_allclose(length[np.isin(tap, (3, 5))], 1.51, atol=0.005)
    np.testing.assert_allclose(length[np.isin(tap, (1, 7))], 1.53, atol=0.005)
    pairs = {(i, j) for i, j in zip(source.tolist(), target.tolist(), strict=True) if i < j}
    assert cKDTree(position).query_pairs(2.5) == pairs


@pytest.mark.parametrize(("face", "longest", "num_edges"), [("outer", 14.2, 1654), ("us", 11.6, 976)])
def test_lattice_edges_of_meg2_are_short(meg2: Detector, face: str, longest: float, num_edges: int) -> None:
    length = lengths(meg2, face)
    assert len(length) == num_edges
    assert length.max() < longest


def test_edges_are_symmetric_with_opposite_taps_and_one_self_edge(detector: Detector) -> None:
    opposite = {"lattice": np.arange(9)[::-1], "hex": np.array([0, 2, 1, 6, 5, 4, 3])}
    for name, face in detector.faces.items():
        source, target = edges = detector.edge_index(name, face.layout)
        tap = detector.edge_type(name, face.layout)
        assert edges.dtype == tap.dtype == np.int64
        assert np.all(np.diff(target) >= 0)
        forward = set(zip(source.tolist(), target.tolist(), tap.tolist(), strict=True))
        assert forward == set(zip(target.tolist(), source.tolist(), opposite[face.layout][tap].tolist(), strict=True))
        assert len({edge[:2] for edge in forward}) == len(source), "no edge twice"
        own = tap[source == target]
        np.testing.assert_array_equal(own, np.full(len(face), 4 if face.layout == "lattice" else 0))


def test_normals_are_unit_and_point_into_the_xenon(detector: Detector) -> None:
    np.testing.assert_allclose(np.linalg.norm(detector.normal, axis=1), 1, atol=1e-14)
    cone = detector.position[detector.faces["ds"].sensor_ids[:2]]
    r, z = np.hypot(cone[:, 0], cone[:, 1]), cone[:, 2]
    slope = (z[1] - z[0]) / (r[1] - r[0])
    assert slope == pytest.approx(0.34963, abs=1e-4)

    def inside(point: np.ndarray) -> np.ndarray:
        u, v, w = detector.to_uvw(point).T
        between_ends = np.abs(u) < z[0] + slope * (w + detector.radius - r[0])
        between_planes = np.abs(np.degrees(v / detector.radius)) < detector.phi_opening / 2
        return (w > 0) & (w < 106.27 - detector.radius) & between_ends & between_planes

    assert inside(detector.position + 1.0 * detector.normal).all()
    assert not inside(detector.position - 1.0 * detector.normal).any()


def test_normals_are_perpendicular_to_the_faces(detector: Detector) -> None:
    for name, face in detector.faces.items():
        source, target = detector.edge_index(name, face.layout)
        position, normal = detector.position[face.sensor_ids], detector.normal[face.sensor_ids]
        # A chord of a curved face makes opposite angles with the normals of its ends (on a cone: along rows, columns).
        straight = face.edge_type % 2 == 1 if face.layout == "lattice" else slice(None)
        along = np.einsum("ek,ek->e", position[source] - position[target], normal[source] + normal[target])
        np.testing.assert_allclose(along[straight], 0, atol=1e-11)


# The tap that a mirrored neighbour has, by layout: rows (phi) or columns (z) of a lattice the other way round.
ROWS, COLS = (np.flip(np.arange(9).reshape(3, 3), axis).ravel() for axis in (0, 1))
HEX = np.array([0, 2, 1, 4, 3, 6, 5])
MIRRORS = {
    "z": ([1, 1, -1], {"us": "ds", "ds": "us"}, {"inner": COLS, "outer": COLS, "top": HEX, "bottom": HEX}),
    "y": ([1, -1, 1], {"top": "bottom", "bottom": "top"}, dict.fromkeys(("inner", "outer", "us", "ds"), ROWS)),
}


@pytest.mark.parametrize("axis", MIRRORS)
def test_mirror_maps_the_detector_onto_itself(detector: Detector, axis: str) -> None:
    sign, partner, tap_of = MIRRORS[axis]
    distance, image = cKDTree(detector.position).query(detector.position * sign)
    assert distance.max() == 0, "mirrored positions agree to the last bit"
    np.testing.assert_allclose(detector.normal[image], detector.normal * sign, atol=1e-15)
    np.testing.assert_array_equal(detector.sensor_type[image], detector.sensor_type)

    local = {}  # face -> local id there of the mirrored sensor
    for name, face in detector.faces.items():
        other = detector.faces[partner.get(name, name)].sensor_ids
        local[name] = np.searchsorted(other, image[face.sensor_ids])
        np.testing.assert_array_equal(other[local[name]], image[face.sensor_ids])

    for name, face in detector.faces.items():
        tap = tap_of.get(name, np.arange(9))[face.edge_type]
        other = detector.faces[partner.get(name, name)]
        mirrored = np.stack([*local[name][face.edge_index], tap])
        expected = np.stack([*other.edge_index, other.edge_type])
        np.testing.assert_array_equal(np.unique(mirrored, axis=1), np.unique(expected, axis=1))
    for (a, b), (source, target) in detector.seams().items():
        mirrored = np.stack([local[a][source], local[b][target]])
        other_edges = detector.seams()[partner.get(a, a), partner.get(b, b)]
        np.testing.assert_array_equal(np.unique(mirrored, axis=1), np.unique(other_edges, axis=1))


def test_seams_join_twelve_pairs_both_ways(detector: Detector) -> None:
    seams = detector.seams()
    opposite = [{"inner", "outer"}, {"us", "ds"}, {"top", "bottom"}]
    assert set(seams) == {(a, b) for a in COUNTS for b in COUNTS if a != b and {a, b} not in opposite}
    for (a, b), edges in seams.items():
        mirrored = seams[b, a]
        np.testing.assert_array_equal(np.unique(edges, axis=1), np.unique(mirrored[::-1], axis=1))
        assert len(np.unique(edges, axis=1).T) == edges.shape[1]
        assert np.all(np.diff(edges[1]) >= 0), "sorted by target"


def test_seams_lie_on_the_sides_that_are_nearest(detector: Detector) -> None:
    used = []
    for (a, b), edges in detector.seams().items():
        gap = {}
        for side_a, ids_a in detector.faces[a].sides.items():
            for side_b, ids_b in detector.faces[b].sides.items():
                points = [detector.position[detector.faces[f].sensor_ids[ids]] for f, ids in ((a, ids_a), (b, ids_b))]
                there, back = cKDTree(points[1]).query(points[0])[0], cKDTree(points[0]).query(points[1])[0]
                gap[side_a, side_b] = there.mean() + back.mean()
        side_a, side_b = min(gap, key=gap.__getitem__)
        np.testing.assert_array_equal(np.unique(edges[0]), np.sort(detector.faces[a].sides[side_a]))
        np.testing.assert_array_equal(np.unique(edges[1]), np.sort(detector.faces[b].sides[side_b]))
        used.append((a, side_a))
    assert len(set(used)) == len(used) == 24, "each of the four sides of each of the six faces once"


def test_seams_of_meg2_are_short(meg2: Detector) -> None:
    for (a, b), (source, target) in meg2.seams().items():
        ends = meg2.faces[a].sensor_ids[source], meg2.faces[b].sensor_ids[target]
        assert np.linalg.norm(meg2.position[ends[0]] - meg2.position[ends[1]], axis=1).max() < 9.8


def test_hash_ignores_positions_and_comments(mini: Detector) -> None:
    moved = mini.yaml.replace("radius: 106.27", "radius: 106.28").replace("pitch_z: 14.0", "pitch_z: 14.01")
    assert Detector.from_yaml("# a comment\n" + moved).hash == mini.hash
    assert not np.array_equal(Detector.from_yaml(moved).position, mini.position)


def test_hash_does_not_depend_on_the_process(mini: Detector) -> None:
    code = "from xecgnn.detector import load_detector; import sys; sys.stdout.write(load_detector('mini').hash)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == mini.hash


@pytest.mark.parametrize(
    ("pattern", "replacement"),
    [
        (r"\[102, 194,", "[194, 102,"),  # two ids of the block exchanged
        (r"\[4, 5, 4, 3\]", "[3, 4, 5, 4]"),  # other hex rows, as many sensors
        (r"shape: \[12, 8\]", "shape: [8, 12]"),  # another layout, as many sensors
        (r"  - \{inner: last_col, ds: first_col\}\n", ""),  # a seam less
        (r"  inner:\n", "  middle:\n"),  # another name
    ],
)
def test_hash_follows_ids_layouts_and_edges(mini: Detector, pattern: str, replacement: str) -> None:
    text, count = re.subn(pattern, replacement, mini.yaml)
    assert count
    if "middle" in replacement:
        text = text.replace("{inner:", "{middle:")
    assert Detector.from_yaml(text).hash != mini.hash


def test_hash_follows_the_order_of_the_tokens(mini: Detector) -> None:
    data = yaml.safe_load(mini.yaml)
    data["faces"] = dict(reversed(data["faces"].items()))
    assert Detector.from_yaml(yaml.safe_dump(data, sort_keys=False)).hash != mini.hash


def test_the_yaml_gives_the_detector_back(detector: Detector) -> None:
    again = Detector.from_yaml(detector.yaml)
    assert again.hash == detector.hash
    np.testing.assert_array_equal(again.position, detector.position)
    assert pickle.loads(pickle.dumps(detector)).hash == detector.hash


def test_unknown_face_and_relation(mini: Detector) -> None:
    with pytest.raises(KeyError, match="no face 'innner' in mini; faces: inner, us, ds, outer, top, bottom"):
        mini.edge_index("innner", "lattice")
    with pytest.raises(KeyError, match="'top' has no relation 'lattice'; it has 'hex'"):
        mini.edge_type("top", "lattice")


def test_sensor_kinds(meg2: Detector) -> None:
    assert meg2.sensor_kinds["mppc"].area == pytest.approx(1.392, abs=1e-3)
    assert meg2.sensor_kinds["pmt"].area == pytest.approx(np.pi * 2.25**2)
    assert {kind.shape for kind in meg2.sensor_kinds.values()} == {"square", "disc"}


def test_summary_is_the_table_of_the_faces(meg2: Detector) -> None:
    lines = [" ".join(line.split()) for line in meg2.summary().splitlines()]
    assert len(lines) == 2 + 6
    assert "| outer | 234 pmt | 4092-4307, 4742-4759 | lattice 24 x 9, block of 6 x 5 |" in lines


def test_shipped_detectors_load_by_name() -> None:
    assert (load_detector("meg2").name, load_detector("mini").name) == ("meg2", "mini")
