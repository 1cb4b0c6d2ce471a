"""Output files appear whole or not at all."""

from __future__ import annotations

import pytest

from xecgnn.output import check_new, completed, write_text


def test_a_file_has_its_name_only_when_complete(tmp_path):
    path = tmp_path / "new" / "table.csv"
    with completed(path) as part:
        part.write_text("half")
        assert not path.exists()
    assert path.read_text() == "half"
    with pytest.raises(ZeroDivisionError), completed(path) as part:
        part.write_text("other") and 1 / 0
    assert path.read_text() == "half"  # what was there stays
    assert [p.name for p in path.parent.iterdir()] == ["table.csv"]


def test_nothing_is_replaced_unasked(tmp_path):
    new, old = tmp_path / "new", tmp_path / "old"
    old.write_text("")
    check_new(new)
    check_new(new, old, overwrite=True)
    with pytest.raises(FileExistsError, match="old exists; remove it, or choose another name"):
        check_new(new, old)
    with pytest.raises(FileExistsError, match="old exists; choose another --csv, or --overwrite to replace it"):
        check_new(new, old, overwrite=False, option="--csv")


def test_a_text_makes_the_folder_it_goes_to(tmp_path):
    write_text(tmp_path / "deep" / "a.md", "a\n")
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a.md"]
