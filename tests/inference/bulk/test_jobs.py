"""What there is to do, what it is called, and which shard does it."""

import io
import sys
from pathlib import Path

import pytest

from topseg.core.errors import InputError
from topseg.inference.bulk.jobs import Job, Shard, find_jobs, parse_shard


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for index in range(40):
        path = tmp_path / "in" / f"{index % 4}" / f"{index:03d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "in"


def _find(inputs: list[Path], shard: Shard = Shard()) -> list[Job]:  # noqa: B008
    return find_jobs(inputs, Path("out"), (".png",), shard)


def test_shards_share_out_all_images(folder: Path) -> None:
    parts = [_find([folder], Shard(index, 3)) for index in (1, 2, 3)]
    assert sorted(job for part in parts for job in part) == sorted(_find([folder]))
    assert all(parts)


def test_a_new_image_moves_no_other_to_another_shard(folder: Path) -> None:
    before = _find([folder], Shard(1, 3))
    (folder / "0" / "000a.jpg").touch()
    assert [job for job in _find([folder], Shard(1, 3)) if "000a" not in job.image] == before


def test_a_shard_goes_by_the_output_wherever_the_images_are(folder: Path, tmp_path: Path) -> None:
    outputs = [job.output for job in _find([folder], Shard(2, 3))]
    folder.rename(tmp_path / "elsewhere")
    assert [job.output for job in _find([tmp_path / "elsewhere"], Shard(2, 3))] == outputs
    # The same on every machine: by CRC-32, whose published check value is this.
    assert [i for i in range(1, 9) if Shard(i, 8).holds("123456789")] == [0xCBF43926 % 8 + 1]


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "1/0", "a/b", "-1/2", "1/2/3", ""])
def test_shard_that_is_none(text: str) -> None:
    with pytest.raises(InputError, match=r"expected i/n .* such as 2/8"):
        parse_shard(text)
    assert parse_shard("2/8") == Shard(2, 8)


def test_list_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    text = io.TextIOWrapper(io.BytesIO("b/zwölf.jpg\r\n\na.jpg".encode()))
    monkeypatch.setattr("sys.stdin", text)
    assert _find([Path("-")]) == [Job("b/zwölf.jpg", "b/zwölf"), Job("a.jpg", "a")]


def test_empty_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))
    with pytest.raises(InputError, match="standard input: this list is empty"):
        _find([Path("-")])


def test_paths_that_leave_the_list_are_mirrored_from_the_root(tmp_path: Path) -> None:
    """So that two scenes may both have a 0001.jpg."""
    (tmp_path / "lists").mkdir()
    inputs = tmp_path / "lists" / "all.txt"
    inputs.write_text(f"{tmp_path}/one/0001.jpg\n../two/0001.jpg\nin/0001.jpg\n")
    root = tmp_path.relative_to(tmp_path.anchor)
    expected = [str(root / "one" / "0001"), str(root / "two" / "0001"), "in/0001"]
    assert [job.output for job in _find([inputs])] == expected


@pytest.mark.skipif(sys.platform != "linux", reason="names are Unicode on other systems")
def test_lists_of_any_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a byte order mark, names that are not UTF-8, and the home folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbfa.jpg\r\ncaf\xe9.jpg\n~/b.jpg\n")
    cafe = b"caf\xe9.jpg".decode("utf-8", "surrogateescape")
    images = [job.image for job in _find([Path("~/list.txt")])]
    assert images == [str(tmp_path / name) for name in ("a.jpg", cafe, "b.jpg")]
    (tmp_path / "list.txt").write_bytes("a.jpg".encode("utf-16"))
    with pytest.raises(InputError, match="cannot be read as a list of files; expected UTF-8 text"):
        _find([tmp_path / "list.txt"])


def test_files_that_are_no_images_are_told(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "clip.mov").touch()
    (folder / "more.jfif").touch()
    assert len(_find([folder])) == 41
    assert caplog.messages == [f"{folder}: 1 other file passed over (1 of .mov)"]
