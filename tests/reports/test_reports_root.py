"""Files as ROOT itself leaves them. Needs ROOT: in this environment (extra [root]), or in that of $ROOT_PYTHON."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from xecgnn.data import BadFileError, Events
from xecgnn.data.check import check_files
from xecgnn.data.config import ReaderConfig
from xecgnn.data.reader import TreeReader
from xecgnn.detector import Detector
from xecgnn.schema import Schema

PYTHON = os.environ.get("ROOT_PYTHON", sys.executable)
MACRO = r"""
#include <set>
#include <string>
#include <vector>
void book(TTree& t, int events) {
  float npho[212], time[212], ang[2], energy; Long64_t run = 5000000000, event; TRandom3 r(1);
  t.Branch("npho", npho, "npho[212]/F", 50 * 212 * 4);
  t.Branch("relative_time", time, "relative_time[212]/F", 50 * 212 * 4);
  t.Branch("emiAng", ang, "emiAng[2]/F");
  t.Branch("energyTruth", &energy, "energyTruth/F");
  t.Branch("run", &run, "run/L");
  t.Branch("event", &event, "event/L");
  for (event = 0; event < events; event++) {
    for (int k = 0; k < 212; k++) { npho[k] = r.Exp(100); time[k] = r.Exp(1e-8); }
    ang[0] = 1.2 + 0.5 * r.Rndm(); ang[1] = r.Rndm(); energy = 0.015 + 0.04 * r.Rndm();
    t.Fill();
  }
}
void cycles(const char* path, int first, int second) {
  { TFile f(path, "RECREATE"); TTree t("tree", ""); book(t, first); t.Write(); }
  { TFile f(path, "UPDATE"); TTree t("tree", ""); book(t, second); t.Write(); }
}
void saved(const char* path, bool killed) {
  auto f = new TFile(path, "RECREATE"); auto t = new TTree("tree", "");
  t->SetAutoSave(100); t->SetAutoFlush(50); book(*t, 250);
  if (killed) { fflush(nullptr); _exit(9); }
  t->Write(); f->Close();
}
void types(const char* path) {
  TFile f(path, "RECREATE"); TTree t("tree", ""); book(t, 60);
  Float16_t small = 1, smalls[3] = {1, 2, 3}; Double32_t packed = 2; std::string text = "abc";
  std::vector<float> few = {1};
  std::vector<std::vector<float>> table = {{1}}; TLorentzVector vector; TString name = "x"; std::set<int> numbers = {1};
  ULong64_t large = 1ull << 63; TH1F histogram("h", "", 10, 0, 1); std::vector<bool> flags = {true}; float rare = 1;
  std::vector<TBranch*> some = {
    t.Branch("small", &small, "small/f"), t.Branch("smalls", smalls, "smalls[3]/f"),
    t.Branch("packed", &packed, "packed/d[0,10,16]"), t.Branch("text", &text), t.Branch("few", &few),
    t.Branch("table", &table), t.Branch("vector", "TLorentzVector", &vector, 32000, 0), t.Branch("name", &name),
    t.Branch("numbers", &numbers), t.Branch("large", &large, "large/l"), t.Branch("histogram", &histogram),
    t.Branch("flags", &flags)};
  for (int i = 0; i < 60; i++) for (auto b : some) b->Fill();
  auto b = t.Branch("rare", &rare, "rare/F"); for (int i = 0; i < 7; i++) b->Fill();
  t.Write();
}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with files that ROOT wrote."""
    if subprocess.run([PYTHON, "-c", "import ROOT"], capture_output=True, check=False).returncode:
        pytest.skip("no ROOT: pip install root, or name a Python that has it in ROOT_PYTHON")
    folder = tmp_path_factory.mktemp("root")
    (folder / "macro.C").write_text(MACRO)
    calls = (
        "cycles('cycles.root', 600, 100)",
        "saved('saved.root', False)",
        "types('types.root')",
        "saved('killed.root', True)",  # ends the process
    )
    code = "\n".join(["import ROOT", "ROOT.gROOT.LoadMacro('macro.C')", *(f"ROOT.{call}" for call in calls)])
    subprocess.run([PYTHON, "-c", code], cwd=folder, capture_output=True, check=False)
    return folder


def problems(path: Path, mini: Detector) -> str:
    return "\n".join(problem.text for problem in check_files(path, mini).problems)


def test_cycles(made: Path, mini: Detector) -> None:
    assert len(Events.read(made / "cycles.root")) == 100
    assert len(Events.read(made / "cycles.root", tree="tree;1")) == 600
    assert "not read: tree;1 (600 events)" in problems(made / "cycles.root", mini)


def test_the_last_but_one_state_of_a_tree_is_no_other_tree(made: Path, mini: Detector) -> None:
    with TreeReader(made / "saved.root", ReaderConfig()) as reader:
        assert reader.num_entries == 250
        assert len([key for key in reader.keys if key.startswith("tree;")]) > 1
    assert "not read" not in problems(made / "saved.root", mini)


def test_branches_of_all_types(made: Path, mini: Detector) -> None:
    report = check_files(made / "types.root", mini)
    assert report.usable
    assert "float of 7 entries" in report.text
    events = Events.read(made / "types.root")
    assert events.run[0] == 5_000_000_000
    copied = Events.read(made / "types.root", ["other"], schema=Schema())
    assert copied.fields[-1] == "large"
    assert copied.large[0] == 2**63
    assert "rare" not in copied


def test_a_killed_writer(made: Path, tmp_path: Path) -> None:
    with pytest.raises(BadFileError, match=r"not closed by its writer; .*: hadd recovered\.root '.*killed\.root'"):
        Events.read(made / "killed.root")
    hadd = shutil.which("hadd") or next(Path(PYTHON).parents[1].glob("lib/python*/site-packages/ROOT/bin/hadd"), None)
    assert hadd is not None
    subprocess.run([hadd, tmp_path / "recovered.root", made / "killed.root"], capture_output=True, check=True)
    assert len(Events.read(tmp_path / "recovered.root")) == 200
