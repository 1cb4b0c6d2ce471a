"""What files hold besides what is read, lack, or have lost: named, and nothing ends for what nobody wanted."""

from __future__ import annotations

import logging
import struct
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot

from xecgnn.data import BadFileError, DataConfig, EventLoader, Events, find_files, write
from xecgnn.data.check import check_files
from xecgnn.data.checksums import CHECKSUMS
from xecgnn.data.errors import warn_once
from xecgnn.detector import Detector
from xecgnn.output import check_new
from xecgnn.schema import Schema
from xecgnn.simulation import simulate_events


@pytest.fixture(autouse=True)
def said_again() -> None:
    """What was said in another test is said again."""
    warn_once.cache_clear()


@pytest.fixture(scope="module")
def events(mini: Detector) -> Events:
    return simulate_events(mini, 200, seed=5)


def put(file: uproot.WritableDirectory, name: str, events: Events, basket: int = 50, **more: str) -> None:
    """A tree; `more` are jagged branches."""
    layout = {key: np.dtype((values.dtype, values.shape[1:])) for key, values in events.columns.items()}
    file.mktree(name, layout | more)
    for start in range(0, len(events), basket):
        some = events[start : start + basket]
        file[name].extend(dict(some.columns) | {key: ak.Array([[1.0]] * len(some)) for key in more})


def texts(path: Path, mini: Detector, **options: str) -> str:
    return "\n".join(problem.text for problem in check_files(path, mini, **options).problems)


# cycles, other trees


def test_an_older_cycle_with_other_events_is_named_and_can_be_read(
    mini: Detector, events: Events, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.root"
    with uproot.recreate(path) as file:
        put(file, "tree", events)
        put(file, "tree", events[:100])
        put(file, "rec", events[:7])
    assert len(Events.read(path)) == 100
    assert "holds another 'tree' that is not read: tree;1 (200 events)" in caplog.text
    assert "holds another 'tree' that is not read: tree;1 (200 events); it is read with --tree" in texts(path, mini)
    assert "beside the tree: " in check_files(path, mini).text
    assert "rec;1 (TTree)" in check_files(path, mini).text
    for tree, number in (("tree;1", 200), ("tree;2", 100), ("rec", 7), ("rec;1", 7)):
        assert len(Events.read(path, tree=tree)) == number
        assert "not read" not in texts(path, mini, tree=tree)
    with pytest.raises(BadFileError, match=r"no tree 'tree;3'; trees: tree;2, tree, rec|no tree 'tree;3'; trees: "):
        Events.read(path, tree="tree;3")


def test_trees_elsewhere_are_named(events: Events, tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "a.root") as file:
        file.mkdir("deep")
        put(file["deep"], "tree", events)
        file["tree"] = "no tree at all"
    with pytest.raises(BadFileError, match="no tree 'tree'; tree;1 is a TObjString, trees: deep/tree"):
        Events.read(tmp_path / "a.root")
    assert len(Events.read(tmp_path / "a.root", tree="deep/tree")) == 200


# files of one list


def test_what_some_files_lack_is_named(events: Events, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(events.select("npho", "relative_time", "emiAng", "run", "event"), tmp_path / "a.root")
    write(events.select("npho", "relative_time", "energyTruth", "run"), tmp_path / "b.root")
    assert Events.read(tmp_path).fields == ("npho", "relative_time", "run")
    (line,) = caplog.messages
    assert line.startswith("emiAng, event, energyTruth: left out, for not all of 2 files have it; it lacks in ")
    assert "a.root" in line
    assert "b.root" in line


def test_the_loader_names_them_too(
    mini: Detector, events: Events, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(events, tmp_path / "a.root")
    write(events.select("npho", "relative_time", "energyTruth"), tmp_path / "b.root")
    loader = EventLoader(tmp_path, mini, DataConfig(batch_size=400, num_workers=0), shuffle=False)
    assert set(next(iter(loader)).y) == {"energy"}
    assert "run, event" in caplog.text
    report = check_files(tmp_path, mini)
    assert "not all have the branches edepTruth, emiAng" in report.text or "not all have the branches" in report.text


# damaged baskets


def break_basket(path: Path, branch: str, number: int) -> None:
    """Overwrite one basket of a compressed file."""
    with uproot.open(path) as file:
        place = int(file["tree"][branch].member("fBasketSeek")[number])
    content = bytearray(path.read_bytes())
    content[place : place + 200] = b"\xff" * 200
    path.write_bytes(content)


@pytest.mark.parametrize("branch", ["npho", "relative_time", "energyTruth", "event"])
@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_basket_does_not_end_a_training(
    mini: Detector, events: Events, tmp_path: Path, branch: str, workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a.root", "b.root"):
        with uproot.recreate(tmp_path / name, compression=uproot.LZ4(1)) as file:
            put(file, "tree", events)
    break_basket(tmp_path / "b.root", branch, 1)
    config = DataConfig(batch_size=40, chunksize=800, num_workers=workers, on_bad_file="skip")
    loader = EventLoader(tmp_path, mini, config, shuffle=True, truth=["energyTruth"])
    batches = list(loader)
    assert len(batches) == len(loader) == 10
    energy = np.concatenate([batch.y["energy"].numpy() for batch in batches])
    assert np.isnan(energy).sum() == 50
    light = np.concatenate([batch.x.numpy() for batch in batches])
    assert (np.isnan(light).all((1, 2)) == np.isnan(energy[:, 0])).all()
    if not workers:
        assert "cannot read entries" in caplog.text
    with pytest.raises(BadFileError, match=r"b\.root: cannot read entries [^\n]*$"):
        list(EventLoader(tmp_path, mini, config.model_copy(update={"on_bad_file": "stop"}), shuffle=True))


def test_a_damaged_basket_costs_no_whole_file(events: Events, tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "a.root", compression=uproot.LZ4(1)) as file:
        put(file, "tree", Events.concatenate([events] * 12), 400)
    break_basket(tmp_path / "a.root", "npho", 1)
    assert len(Events.read(tmp_path / "a.root", on_bad_file="skip")) == 2400 - 800  # blocks of two baskets


# foreign branches


def test_branches_of_foreign_types_break_nothing(
    mini: Detector, events: Events, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.root"
    with uproot.recreate(path) as file:
        put(file, "tree", events.with_columns({"strange": np.ones(200)}), hits="var * float32")
    found = uproot.behaviors.TBranch.TBranch.interpretation

    def interpretation(branch: object) -> object:
        if branch.name == "strange":  # as of an array of Float16_t
            raise UnboundLocalError("cannot access local variable 'low'")
        return found.fget(branch)

    monkeypatch.setattr(uproot.behaviors.TBranch.TBranch, "interpretation", property(interpretation))
    assert check_files(path, mini).usable
    assert Events.read(path).energyTruth.shape == (200,)
    assert not caplog.messages
    copy = Events.read(path, ["other"], schema=Schema())
    assert "strange" not in copy
    assert "a.root: left out, as no flat arrays of numbers: strange, hits" in caplog.text
    assert "nhits" in copy
    with pytest.raises(ValueError, match=r"branch 'strange' is .*not a fixed-size array of numbers"):
        Events.read(path, ["strange"])


# writers that were killed


def test_a_file_that_was_not_closed_says_what_to_do(events: Events, tmp_path: Path) -> None:
    path = tmp_path / "a.root"
    write(events, path)
    content = bytearray(path.read_bytes())
    begin, name = (struct.unpack_from(">i", content, place)[0] for place in (8, 28))
    struct.pack_into(">i", content, 37, 0)  # fSeekInfo
    struct.pack_into(">i", content, begin + name + 10, 0)  # fNbytesKeys of the directory
    struct.pack_into(">i", content, begin + name + 26, 0)  # fSeekKeys
    path.write_bytes(content)
    with pytest.raises(BadFileError, match=r"a\.root: not closed by its writer; ROOT recovers what it can of it: root"):
        Events.read(path)


# checksums


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_check_compares_the_checksums_of_a_written_file(
    mini: Detector, events: Events, tmp_path: Path, compression: str
) -> None:
    path = tmp_path / "a.root"
    extra = {"good": np.arange(200) % 3 == 0, "dose": np.arange(400, dtype=np.int16).reshape(200, 2)}
    write(events.with_columns(extra), path, compression=compression)
    assert check_files(path, mini).problems == []
    with uproot.open(path) as file:
        place = int(file["tree"]["npho"].member("fBasketSeek")[0])
    content = bytearray(path.read_bytes())
    content[place + 5000] ^= 1
    path.write_bytes(content)
    report = check_files(path, mini)
    assert not report.usable
    assert "damaged: values are not those that were written: npho" in report.text or compression == "zstd"


def test_checksums_of_other_tables_are_not_compared(mini: Detector, events: Events, tmp_path: Path) -> None:
    write(events, tmp_path / "a.root")
    with uproot.open(tmp_path / "a.root") as file:
        sums = str(file[CHECKSUMS])
    twice = Events.concatenate([events, events.with_columns({"run": events.run + 1})])
    with uproot.recreate(tmp_path / "merged.root") as file:  # as hadd leaves them
        put(file, "tree", twice)
        file[CHECKSUMS] = sums
    assert "damaged" not in texts(tmp_path / "merged.root", mini)
    with uproot.recreate(tmp_path / "odd.root") as file:
        put(file, "tree", events)
        file[CHECKSUMS] = "something else"
    assert f"not those that were written: {CHECKSUMS}" in texts(tmp_path / "odd.root", mini)


# names


@pytest.mark.parametrize("name", ["a*b", "a[1]", "{a,b}", "a,b", "a b", "a:b", "a#b", "a%20b", "a?b", "x" * 240, "ä'$"])
def test_files_and_folders_of_any_name(mini: Detector, events: Events, tmp_path: Path, name: str) -> None:
    path = tmp_path / name / f"{name}.root"
    write(events[:60], path)
    for paths in (path, str(path), path.parent, str(path.parent / "*.root"), [str(path)]):
        assert find_files(paths) == [path]
        assert len(Events.read(paths)) == 60
    assert check_files(path, mini).facts["files"].keys() == {str(path)}


def test_names_that_are_not_there(tmp_path: Path) -> None:
    for name in ("x.root", "{a,b}.root", "a,b.root"):
        with pytest.raises(FileNotFoundError, match=r"^no such file: .*\.root$"):
            find_files(tmp_path / name)
    with pytest.raises(OSError, match="File name too long"):
        find_files(tmp_path / ("x" * 300))


@pytest.mark.parametrize(
    "address", ["root://host//eos/a.root", "https://x.org/a.root", "s3://bucket/a.root", "xroot://h:1094//a*.root"]
)
def test_addresses_are_no_files(address: str) -> None:
    for function in (find_files, check_new):
        for path in (address, Path(address)):
            with pytest.raises(ValueError, match=r"^\w+://\w[^\n]*: not a file of this machine; copy it here first"):
                function(path)


def test_what_is_not_utf_8(events: Events, tmp_path: Path) -> None:
    """Names in a damaged file are printed as they can be."""
    path = tmp_path / "a.root"
    write(events[:60], path, compression="none")
    path.write_bytes(path.read_bytes().replace(b"xyzVTX", b"xyz\xff\xfeX"))
    logging.getLogger().debug(str(Events.read(path).fields).encode("utf-8", "backslashreplace"))
