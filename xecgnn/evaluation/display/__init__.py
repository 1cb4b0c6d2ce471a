"""Single events: on unrolled faces (`plane`), in space (`space`), with masked sensors (`reconstruction`)."""

from __future__ import annotations

from xecgnn.lazy import lazy_names

_PUBLIC = {
    "Photon": "photon",
    "describe": "photon",
    "draw_edges": "sensors",
    "draw_event": "plane",
    "draw_event_3d": "space",
    "draw_photon": "plane",
    "draw_reconstruction": "reconstruction",
    "draw_sensors": "sensors",
    "sensor_pairs": "unrolled",
    "unroll": "unrolled",
    "write_display": "write",
}

__all__ = list(_PUBLIC)
__getattr__, __dir__ = lazy_names(__name__, _PUBLIC)
