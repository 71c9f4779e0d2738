"""What a source is in images, in which order, in how much memory, and what changes what a list is called."""

import io
import os
import tarfile
import tracemalloc

import pyarrow
import pyarrow.feather
import pyarrow.ipc
import pyarrow.parquet
import pytest

from deepvit.classify.sources.listing import Listing
from deepvit.runtime.errors import InputError, MissingError
from tests.classify.red_images import red_classifier, red_image


def names(*sources, **options):
    listing = Listing([str(source) for source in sources], **options)
    return [entry.name for entry in listing.entries(range(listing.images))]


@pytest.fixture
def images(tmp_path, monkeypatch):
    """Images in a folder and below it, with what is none beside them; the folder is the current one."""
    monkeypatch.chdir(tmp_path)
    for name in ("b/10.png", "b/2.PNG", "a.jpg", "b/c/d/ü.png", "z.png"):
        red_image(tmp_path / "d" / name, 1)
    for name in ("d/notes.txt", "d/b/.hidden.png", "d/.git/a.png", "d/old.tar", "d/rows.parquet"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_folders_and_patterns_are_sorted(images):
    every = ["d/a.jpg", "d/b/10.png", "d/b/2.PNG", "d/b/c/d/ü.png", "d/z.png"]
    assert names("d") == every
    assert names(images / "d") == [str(images / name) for name in every]
    assert names("d/**/*") == every
    assert names("d/b/*") == ["d/b/10.png", "d/b/2.PNG"]
    assert names("d/?.png") == ["d/z.png"]
    assert names("d/z.png", "d/b/*.png", "d/z.png") == ["d/z.png", "d/b/10.png", "d/z.png"]
    assert names("d", limit=2) == every[:2]
    (images / "[x].png").touch()
    assert names("[x].png") == ["[x].png"]


def test_lists_keep_their_order(images, monkeypatch):
    text = "\ufeffd/z.png\r\n\nnowhere/x.png\nd/a.jpg\nd/z.png\n"
    (images / "list.txt").write_text(text)
    listed = ["d/z.png", "nowhere/x.png", "d/a.jpg", "d/z.png"]
    assert names("list.txt") == listed
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    assert names("-", limit=3) == listed[:3]


def test_names_that_are_no_text(images):
    name = os.fsdecode(b"d/\xff\n.png")
    red_image(images / name, 6)
    assert r"d/\udcff\n.png" in names("d")
    rows = {row.path: row.label for row in red_classifier().classify("d")}
    assert rows[r"d/\udcff\n.png"] == 6


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere", "nowhere does not exist; expected a file, a folder, a pattern"),
        ("empty", "no images in empty"),
        ("d/*.gif", r"no images in d/\*.gif"),
        ("d/old.tar", "d/old.tar is no tar archive, or compressed or damaged: empty file"),
        ("none.tar", "no images in none.tar"),
        ("cut.tar", "cut.tar is no tar archive, or compressed or damaged"),
        ("d/rows.parquet", "d/rows.parquet is no file of a table, or damaged"),
        ("x" * 5000, "does not exist"),
        ("loop", "links lead to loop/a a second time"),
    ],
)
def test_what_is_refused(images, source, message):
    (images / "empty").mkdir()
    (images / "loop").mkdir()
    (images / "loop" / "a").symlink_to(images / "loop")
    (images / "cut.tar").write_bytes(b"x" * 600)
    tarfile.open("none.tar", "w").close()
    with pytest.raises(InputError, match=message):
        Listing([source])


def shard(path, reds):
    with tarfile.open(path, "w") as archive:
        for name, red in reds.items():
            member = path.with_name("member.png")
            red_image(member, red)
            archive.add(member, name)
            archive.add(member, f"{name}.cls")
    member.unlink()


def test_shards(tmp_path):
    for number in (1, 0):
        shard(tmp_path / f"{number}.tar", {f"x/{red}.png": red for red in (4 + number, 2)})
    expected = {f"{tmp_path}/{number}.tar/x/{red}.png": red for number in (0, 1) for red in (4 + number, 2)}
    rows = list(red_classifier().classify(f"{tmp_path}/*.tar", batch_size=3))
    assert {row.path: row.label for row in rows} == expected
    assert [row.path for row in rows] == list(expected)
    content = (tmp_path / "0.tar").read_bytes()
    listing = Listing([f"{tmp_path}/0.tar"])
    (tmp_path / "0.tar").write_bytes(content[: listing.entries(range(1, 2))[0].start + 4])
    with pytest.raises(InputError, match="the shard ends after 4 of"):
        listing.entries(range(1, 2))[0].read()


def table(reds, tmp_path, *, nested):
    contents = []
    for red in reds:
        red_image(tmp_path / "one.png", red)
        contents.append((tmp_path / "one.png").read_bytes())
    (tmp_path / "one.png").unlink()
    column = [{"bytes": each, "path": None} for each in contents] if nested else contents
    return pyarrow.table({"label": list(range(len(column))), "image": column})


def write_parquet(table, path):
    pyarrow.parquet.write_table(table, path, row_group_size=3)


def write_stream(table, path):
    with pyarrow.ipc.new_stream(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=3)


def write_file(table, path):
    with pyarrow.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=3)


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize(
    ("write", "suffix"),
    [
        (write_parquet, ".parquet"),
        (write_stream, ".arrow"),
        (write_file, ".arrow"),
        (pyarrow.feather.write_feather, ".feather"),
    ],
)
def test_tables(tmp_path, write, suffix, nested):
    path = tmp_path / f"t{suffix}"
    write(table([1, 2, 3, 4, 5, 6, 7], tmp_path, nested=nested), path)
    rows = list(red_classifier().classify(path, batch_size=4))
    assert [(row.path, row.label) for row in rows] == [(f"{path}#{number}", number + 1) for number in range(7)]


def test_columns_of_tables(tmp_path):
    contents = [b"one", b"other", None]
    path = tmp_path / "t.parquet"
    write_parquet(pyarrow.table({"jpg": contents, "png": contents, "id": [1, 2, 3]}), path)
    with pytest.raises(InputError, match="columns of bytes are jpg, png; expected one to be the images; name it with"):
        Listing([str(path)])
    with pytest.raises(InputError, match="columns of bytes are jpg, png; expected one named id"):
        Listing([str(path)], "id")
    *_, last = Listing([str(path)], "png").entries(range(3))
    with pytest.raises(InputError, match="the row has no bytes"):
        last.read()


def test_without_pyarrow(tmp_path, monkeypatch):
    (tmp_path / "t.parquet").touch()
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MissingError, match="t.parquet needs pyarrow, which is not installed; pip install pyarrow"):
        Listing([str(tmp_path / "t.parquet")])


def test_what_a_list_is_called_by(images):
    def sha256():
        return Listing(["d"]).sha256

    before = sha256()
    assert sha256() == before
    os.utime(images / "d" / "a.jpg", ns=(1, 1))
    changed = sha256()
    (images / "d" / "z.png").rename(images / "d" / "y.png")
    assert len({before, changed, sha256()}) == 3


def peak_of(path):
    """The most memory that Python has for a list, and its blocks one after another."""
    tracemalloc.start()
    listing = Listing([str(path)])
    for first in range(0, listing.images, 32):
        listing.entries(range(first, first + 32))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    listing.close()
    return peak


def test_memory_does_not_grow_with_an_archive(tmp_path):
    peaks = []
    for images in (10, 100, 2000):
        path = tmp_path / f"{images}.tar"
        with tarfile.open(path, "w") as archive:
            for number in range(images):
                archive.addfile(tarfile.TarInfo(f"{number:05}.jpg"))
        peaks.append(peak_of(path))
    assert peaks[2] < peaks[1] + 100_000  # of 2 MB that its headers take


def test_memory_does_not_grow_with_a_list(tmp_path):
    peaks = []
    for images in (100, 500, 5000):  # before the first, much is loaded
        path = tmp_path / f"{images}.txt"
        path.write_text("".join(f"nowhere/{number:06}.jpg\n" for number in range(images)))
        peaks.append(peak_of(path))
    assert peaks[2] < 1.1 * peaks[1]
