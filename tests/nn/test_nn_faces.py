from __future__ import annotations

import pytest
import torch

from xecgnn.nn import Faces


@pytest.mark.parametrize("name", ["mini", "meg2"])
def test_faces_there_and_back(request, name):
    detector = request.getfixturevalue(name)
    faces, values = Faces(detector), torch.arange(3 * detector.num_sensors * 2).reshape(3, detector.num_sensors, 2)
    parts = faces.split(values)
    assert list(parts) == list(detector.faces)
    for face, nodes in parts.items():
        assert torch.equal(nodes, values[:, detector.faces[face].sensor_ids].flatten(0, 1))
        assert torch.equal(nodes, faces.take(values, face))
    assert torch.equal(faces.join(parts), values)
