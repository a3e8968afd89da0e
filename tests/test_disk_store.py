import os

import pytest

from skclsgen import disk_store
from skclsgen.disk_store import DiskStore, replace_file
from skclsgen.exceptions import FallbackWarning


def names(folder):
    return sorted(file.name for file in folder.glob("*/*"))


def test_what_is_kept_is_found_by_others(tmp_path):
    store = DiskStore(tmp_path / "new")
    store.keep("aa1", b"one")
    store.keep("aa1", b"other")
    other = DiskStore(tmp_path / "new")
    assert other.find("aa1") == b"other"
    assert other.find("aa2") is None
    assert names(tmp_path / "new") == ["aa1"]


def test_what_was_unused_for_longest_goes_first(tmp_path):
    DiskStore(tmp_path).keep("aa", b"x" * 40)
    store = DiskStore(tmp_path, capacity=100)  # what is there already counts
    store.keep("bb", b"x" * 40)
    for age, name in enumerate(["aa", "bb"]):
        os.utime(tmp_path / name / name, (age, age))
    assert store.find("aa") is not None
    store.keep("cc", b"x" * 40)
    assert names(tmp_path) == ["aa", "cc"]
    assert DiskStore(tmp_path, capacity=100).find("dd") is None


def test_a_folder_that_cannot_be_written_to_costs_one_warning(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    store = DiskStore(tmp_path / "file" / "folder")
    with pytest.warns(FallbackWarning, match="memory=.* cannot be written to"):
        store.keep("aa", b"x")
    store.keep("aa", b"x")  # no second warning, which would be an error here
    (tmp_path / "file").unlink()  # room is made
    store.keep("aa", b"x")
    assert store.find("aa") is None
    monkeypatch.setattr(disk_store, "RETRY", 0.0)  # as if a minute had passed
    store.keep("aa", b"x")
    assert store.find("aa") == b"x"


def test_a_session_does_not_push_out_what_it_wrote(tmp_path):
    store = DiskStore(tmp_path, capacity=100)
    for name in ("aa", "bb", "cc"):
        store.keep(name, b"x" * 40)
    assert names(tmp_path) == ["aa", "bb"]


def test_a_folder_that_may_only_be_read(tmp_path, monkeypatch):
    store = DiskStore(tmp_path)
    store.keep("aa", b"x")

    def fail(file):
        raise PermissionError("not yours")

    monkeypatch.setattr(os, "utime", fail)
    assert store.find("aa") == b"x"


def test_a_write_that_fails_leaves_nothing_behind(tmp_path, monkeypatch):
    store = DiskStore(tmp_path)
    store.keep("aa", b"old")

    def fail(*paths):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.warns(FallbackWarning, match="disk full"):
        store.keep("aa", b"new")
    assert names(tmp_path) == ["aa"]
    assert store.find("aa") == b"old"


@pytest.mark.skipif(os.name != "posix", reason="only POSIX has permissions of this kind")
def test_what_is_written_for_all_can_be_read_by_all(tmp_path):
    tmp_path.chmod(0o755)
    replace_file(tmp_path / "page", b"")
    replace_file(tmp_path / "words", b"", private=True)
    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in ("page", "words")]
    assert modes == [0o644, 0o600]
