from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import uproot

from xecgnn.data import Events
from xecgnn.data.parts import PartFiles, stored_events

JOB = {"model": "abc", "batch": "32"}


def events(first: int, count: int) -> Events:
    n = np.arange(first, first + count, dtype=np.int32)
    return Events({"x": np.stack([n, -n, n / 3], 1).astype(np.float32), "n": n})


def write(parts: PartFiles, number: int, first: int, count: int) -> None:
    with parts.write(number) as writer:
        writer.write(events(first, count))


def stop_after_one_part(output: Path) -> None:
    with PartFiles(output, JOB) as parts:
        write(parts, 0, 0, 700)
        with parts.write(1) as writer:
            writer.write(events(700, 600))
            raise KeyboardInterrupt


def test_parts_of_two_runs_become_one_file(tmp_path):
    output = tmp_path / "out.root"
    with pytest.raises(KeyboardInterrupt):
        stop_after_one_part(output)
    assert sorted(path.name for path in (tmp_path / "out.root.parts").iterdir()) == [
        "job.json",
        "part-00000000.root",
    ]
    with PartFiles(output, JOB) as parts:
        assert [parts.done(number) for number in range(3)] == [True, False, False]
        write(parts, 1, 700, 600)
        write(parts, 2, 1300, 1)
        merged, total = parts.merge({"model": "abc"})
        assert total == 1301
        assert not output.exists()
        parts.publish(merged)
    assert list(tmp_path.iterdir()) == [output]
    with uproot.open(output) as file:
        assert str(file["model"]) == "abc"
        assert file["tree"]["x"].typename == "float[3]"
        assert len(file["tree"]["x"].entry_offsets) == 4  # as if written in one go: baskets of 500
        for name, values in events(0, 1301).columns.items():
            np.testing.assert_array_equal(file["tree"][name].array(library="np"), values)
    portions = list(stored_events(output))
    assert [len(portion) for portion in portions] == [500, 500, 301]
    assert Events.concatenate(portions) == events(0, 1301)


@pytest.mark.parametrize(
    ("job", "difference"),
    [
        ({**JOB, "batch": "64"}, "batch 32, not 64"),
        ({**JOB, "dead": "3"}, "dead none, not 3"),
        ({"batch": "32"}, "model abc, not none"),
    ],
)
def test_another_job_does_not_go_on_with_these_parts(tmp_path, job, difference):
    output = tmp_path / "out.root"
    with pytest.raises(KeyboardInterrupt):
        stop_after_one_part(output)
    with (
        pytest.raises(ValueError, match=f"out.root.parts was begun with {difference}; ") as error,
        PartFiles(output, job),
    ):
        pass
    assert "\n" not in str(error.value)
    with PartFiles(output, JOB) as parts:
        assert parts.done(0)


def test_a_folder_without_a_complete_part_is_removed(tmp_path):
    output = tmp_path / "deep" / "out.root"

    def fail() -> None:
        with PartFiles(output, JOB) as parts, parts.write(0) as writer:
            writer.write(events(0, 3))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(output.parent.iterdir()) == []


def test_only_one_job_at_a_time(tmp_path):
    output = tmp_path / "out.root"
    with PartFiles(output, JOB) as parts:
        write(parts, 0, 0, 3)
        with (
            pytest.raises(BlockingIOError, match=rf"out\.root is in use by process {os.getpid()} on "),
            PartFiles(output, JOB),
        ):
            pass
        assert parts.done(0)


def test_an_existing_output_is_kept(tmp_path):
    output = tmp_path / "out.root"
    with pytest.raises(KeyboardInterrupt):
        stop_after_one_part(output)
    with PartFiles(output, JOB) as parts:
        merged, _ = parts.merge({})
        output.write_text("of somebody else")
        with pytest.raises(FileExistsError, match=r"out\.root exists"):
            parts.publish(merged)
    with pytest.raises(FileExistsError, match=r"out\.root exists"), PartFiles(output, JOB):
        pass
    assert output.read_text() == "of somebody else"
    assert (tmp_path / "out.root.parts" / "part-00000000.root").exists()
