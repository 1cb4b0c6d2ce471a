from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from plotly.graph_objects import Figure

from xecgnn.detector import Detector
from xecgnn.evaluation.display.layers import EXTRA
from xecgnn.evaluation.display.photon import Photon
from xecgnn.evaluation.display.space import LOWEST, draw_event_3d, write_html
from xecgnn.names import INVALID_VALUE
from xecgnn.simulation import simulate_events

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

# Comes first in the page: nothing may be fetched, and what goes wrong is kept. A button is pressed.
PROBE = """<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline';
script-src 'unsafe-inline' 'unsafe-eval'; img-src data: blob:; worker-src blob:"><script>
const report = {errors: [], requests: []};
addEventListener("error", e => report.errors.push(e.message || "failed: " + e.target.outerHTML), true);
addEventListener("unhandledrejection", e => report.errors.push(String(e.reason)));
addEventListener("securitypolicyviolation", e => report.requests.push(e.blockedURI));
for (const level of ["error", "warn"]) console[level] = (...words) => report.errors.push(words.join(" "));
addEventListener("load", () => setTimeout(() => {
  const plot = document.querySelector(".js-plotly-plot"), bar = () => plot._fullLayout.coloraxis.colorbar.title.text;
  if (plot && plot._fullLayout) {
    report.before = bar();
    plot.querySelectorAll(".updatemenu-button")[2].dispatchEvent(new MouseEvent("click", {bubbles: true}));
  }
  setTimeout(() => {
    if (plot && plot._fullLayout) report.after = bar();
    console.log("REPORT " + JSON.stringify(report) + " END");
  }, 1000);
}, 1000));</script>"""


def event_3d(detector: Detector, **more: object) -> Figure:
    event = simulate_events(detector, 1, seed=3, dead=[0, 5])
    truth = Photon(event.uvwTruth[0], event.emiVec[0], event.xyzVTX[0])
    return draw_event_3d(detector, event.npho[0], event.relative_time[0], truth=truth, **more)


def browse(page: str, folder: Path) -> tuple[dict, np.ndarray]:
    """Open a page in a browser: what the probe reports, and the picture (H, W, 3)."""
    path, picture = folder / "page.html", folder / "page.png"
    path.write_text(page.replace("<head>", "<head>" + PROBE, 1), encoding="utf-8")
    flags = "--headless --no-sandbox --disable-gpu --use-gl=angle --use-angle=swiftshader --enable-unsafe-swiftshader"
    flags += " --no-first-run --disable-background-networking --disable-component-update --disable-sync --disable-quic"
    flags += " --enable-logging=stderr --v=0 --window-size=1000,800 --virtual-time-budget=10000"
    paths = [f"--user-data-dir={folder / 'profile'}", f"--screenshot={picture}", path.as_uri()]
    environment = os.environ | {"HOME": str(folder)}
    run = subprocess.run(
        [str(CHROMIUM), *flags.split(), *paths],
        capture_output=True,
        text=True,
        timeout=300,
        env=environment,
        check=True,
    )
    report = json.loads(run.stderr.split("REPORT ")[1].split(" END")[0])
    return report, imread(picture)[..., :3]


def colored(picture: np.ndarray) -> float:
    """Share of pixels with a strong colour in the middle of a picture, where the canvas is."""
    height, width, _ = picture.shape
    middle = picture[height // 5 : 4 * height // 5, width // 4 : 3 * width // 4]
    return float((np.ptp(middle, axis=-1) > 0.3).mean())


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
def test_the_page_works_in_a_browser_and_asks_for_nothing(mini, tmp_path):
    write_html(event_3d(mini), tmp_path / "event.html")
    report, picture = browse((tmp_path / "event.html").read_text(encoding="utf-8"), tmp_path)
    assert report["errors"] == report["requests"] == []
    assert report["before"].startswith("npho")
    assert report["after"].startswith("time")
    assert colored(picture) > 0.02


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
def test_the_browser_would_notice_a_request(mini, tmp_path):
    page = event_3d(mini).to_html(include_plotlyjs="https://cdn.example/plotly.js")
    report, picture = browse(page, tmp_path)
    assert report["requests"] == ["https://cdn.example/plotly.js"]
    assert report["errors"]
    assert colored(picture) == 0


def test_every_sensor_is_a_polygon_with_its_number_and_reading(mini):
    rng = np.random.default_rng(0)
    npho, time = rng.exponential(500, mini.num_sensors), rng.uniform(1e-8, 2e-8, mini.num_sensors)
    npho[3], time[[3, 4]] = np.nan, INVALID_VALUE
    figure = draw_event_3d(mini, npho, time)
    meshes = [trace for trace in figure.data if trace.type == "mesh3d"]
    assert [mesh.name for mesh in meshes] == list(mini.faces)
    for mesh, face in zip(meshes, mini.faces.values(), strict=True):
        ids = mesh.customdata[:, 0].astype(int)
        corners = np.stack([mesh.x, mesh.y, mesh.z], axis=1)
        assert np.unique(ids).tolist() == face.sensor_ids.tolist()
        np.testing.assert_allclose(mesh.customdata[:, 1], npho[ids], rtol=1e-6)
        kind = mini.sensor_kinds[face.sensor]
        triangles = corners[np.stack([mesh.i, mesh.j, mesh.k], axis=1)]
        areas = np.linalg.norm(np.cross(*np.diff(triangles, axis=1).swapaxes(0, 1)), axis=1) / 2
        for sensor in face.sensor_ids:
            own = corners[ids == sensor]
            np.testing.assert_allclose(own.mean(0), mini.position[sensor], atol=1e-4)
            np.testing.assert_allclose((own - mini.position[sensor]) @ mini.normal[sensor], 0, atol=1e-4)
            np.testing.assert_allclose(areas[ids[mesh.i] == sensor].sum(), kind.area, rtol=1e-4)
        assert (mesh.intensity == 0).tolist() == np.isin(ids[mesh.i], [3]).tolist()
    dead = next(trace for trace in figure.data if trace.name.startswith("no valid npho"))
    np.testing.assert_allclose(np.nanmean([dead.x, dead.y, dead.z], axis=1), mini.position[3], atol=1e-4)


def test_buttons_change_all_faces(mini):
    npho, time = np.linspace(0, 100, mini.num_sensors), np.linspace(0, 1e-8, mini.num_sensors)
    time[7] = np.nan
    branches = {"pred_npho": npho + 1, "masked": npho > 50, "run": 3}
    figure = draw_event_3d(mini, npho, time, branches=branches)
    buttons = {button.label: button.args for button in figure.layout.updatemenus[0].buttons}
    base = ["npho, log", "npho, linear", "time, log", "time, linear"]
    assert list(buttons) == [*base, "predicted npho", "residual", "masked"]
    faces = list(mini.faces.values())
    for update, layout, traces in buttons.values():
        assert [figure.data[i].name for i in traces] == list(mini.faces)
        assert [len(values) for values in update["intensity"]] == [len(figure.data[i].i) for i in traces]
        assert layout["coloraxis.colorbar"]["title"]["text"]
    place = {}
    for label, (update, _, _) in buttons.items():
        place[label] = np.zeros(mini.num_sensors, dtype=int)
        for face, values in zip(faces, update["intensity"], strict=True):
            place[label][face.sensor_ids] = np.asarray(values).reshape(len(face), -1)[:, 0]
    inner = mini.faces["inner"].sensor_ids
    assert (np.diff(place["npho, log"][inner]) >= 0).all()
    assert np.flatnonzero(place["time, linear"] == 0).tolist() == [7]
    assert set(place["masked"][npho > 50]) == {255}
    assert set(place["masked"][npho <= 50]) == {LOWEST}
    assert (place["residual"][inner] < (LOWEST + 255) / 2).all()  # npho - (npho + 1) is negative


def test_arrows_end_at_the_interaction_point(mini):
    origin, uvw = np.array([1.0, 2.0, 3.0]), np.array([10.0, -20.0, 4.0])
    point = mini.to_xyz(uvw)
    direction = (point - origin) / np.linalg.norm(point - origin)
    readings = np.ones(mini.num_sensors), np.zeros(mini.num_sensors)
    figure = draw_event_3d(mini, *readings, truth=Photon(uvw, direction, origin), prediction=Photon(None, [0, 0, 1]))
    named = {name: [t for t in figure.data if t.name == name] for name in ("truth", "prediction")}
    line, cone, marker = named["truth"]
    np.testing.assert_allclose([line.x[0], line.y[0], line.z[0]], origin)
    for trace in (cone, marker):
        np.testing.assert_allclose([trace.x[0], trace.y[0], trace.z[0]], point)
    np.testing.assert_allclose([cone.u[0], cone.v[0], cone.w[0]], direction)
    line, cone = named["prediction"]  # starts from the true point, for want of its own
    np.testing.assert_allclose([cone.x[0], cone.y[0], cone.z[0]], point)
    assert [trace.showlegend for trace in figure.data if trace.legendgroup] == [False, False, True, False, True]


def test_a_page_with_all_layers_is_small_and_complete(meg2, tmp_path):
    event = simulate_events(meg2, 1, sample="signal", seed=3)
    branches = dict.fromkeys(EXTRA, event.npho[0])
    figure = draw_event_3d(meg2, event.npho[0], event.relative_time[0], branches=branches)
    write_html(figure, tmp_path / "event.html")
    assert len(figure.layout.updatemenus[0].buttons) == 4 + len(EXTRA) + 1
    assert 4e6 < (tmp_path / "event.html").stat().st_size < 8e6


@pytest.mark.parametrize("npho", [np.nan, 0.0, -1.0])
def test_an_event_without_light_is_drawn(mini, npho):
    readings = np.full(mini.num_sensors, npho), np.full(mini.num_sensors, np.nan)
    figure = draw_event_3d(mini, *readings, prediction=Photon(direction=[0, 0, 1]), branches={"pred_npho": readings[0]})
    assert (np.concatenate([mesh.intensity for mesh in figure.data[: len(mini.faces)]]) == 0).all() == np.isnan(npho)
