"""Folders come back: pixels and what stands beside them in PNG files, all other files to the byte, names, times."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from latentkit.codec.archive import ArchiveReader
from latentkit.core.errors import (
    DamagedArchiveError,
    InvalidParameterError,
    UnreadableDataError,
    UnsupportedOperationError,
)
from latentkit.tasks.compression import compress, decompress, open_contents, salvage
from latentkit.tasks.compression.contents import folders
from latentkit.tasks.compression.contents.pictures import read_picture
from tests.codec.archive.examples import noise, text
from tests.tasks.compression.archived import archive_of, chunk, chunks_of, folder_archive, images, with_chunks

MODES = {"L": 0, "LA": 2, "RGB": 3, "RGBA": 4}


def picture(file: Path, mode: str = "L", name: str = "", side: int = 9, **options: Any) -> None:
    """Write an image of noise as a PNG file."""
    n_channels = len(mode)
    pixels = np.frombuffer(noise(side * (side + 2) * n_channels, name), np.uint8).reshape(side, side + 2, n_channels)
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels[..., 0] if n_channels == 1 else pixels, mode).save(file, "PNG", **options)


def there_and_back(folder: Path, target: Path, **options: Any) -> None:
    written = decompress(io.BytesIO(archive_of(folder, **options)), target, n_workers=1)
    assert sorted(written) == files_of(target)
    assert sorted(path.relative_to(target) for path in written) == [
        path.relative_to(folder) for path in files_of(folder)
    ]


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def pixels_of(file: Path) -> tuple[str, np.ndarray]:
    with Image.open(file) as image:
        return image.mode, np.array(image)


def assert_same(before: Path, after: Path) -> None:
    """Same bytes; or, of PNG files that were read as pixels, the same pixels and chunks."""
    status, again = before.stat(), after.stat()
    assert (status.st_mtime_ns, stat.S_IMODE(status.st_mode)) == (again.st_mtime_ns, stat.S_IMODE(again.st_mode))
    if read_picture(before, 1 << 30) is None:
        assert after.read_bytes() == before.read_bytes()
        return
    assert pixels_of(after)[0] == pixels_of(before)[0]
    assert (pixels_of(after)[1] == pixels_of(before)[1]).all()
    ours, theirs = ([part for part in chunks_of(file) if part[0] != b"IDAT"] for file in (after, before))
    assert ours[0][1][:12] == theirs[0][1][:12], "the head, but for how rows are interlaced"
    assert ours[1:] == theirs[1:]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of all that there may be."""
    folder = tmp_path_factory.mktemp("mixed")
    for mode in MODES:
        for number in range(3):
            picture(folder / mode / f"{number}.png", mode, f"{mode}{number}")
    picture(folder / "large.png", "RGB", side=60)
    told = PngImagePlugin.PngInfo()
    told.add_text("Author", "someone")
    told.add_itxt("Titel", "Grüße", "de")
    picture(folder / "text.png", "RGB", pnginfo=told, icc_profile=b"profile", dpi=(72, 72))
    picture(folder / "gamma.png", "L")
    with_chunks(
        folder / "gamma.png",
        before=chunk(b"gAMA", (45455).to_bytes(4, "big")) + chunk(b"tIME", bytes(7)),
        after=chunk(b"eXIf", b"MM\0*") + chunk(b"prIv", noise(30)),
    )
    for name, options in {
        "interlaced": {},
        "palette": {"mode": "P"},
        "sixteen": {"mode": "I;16"},
        "bits": {"mode": "1"},
    }.items():
        image = Image.fromarray(images(1)[0])
        image = image.convert(options["mode"]) if options else image
        image.save(folder / f"{name}.png")
    _interlace(folder / "interlaced.png", images(1)[0])
    Image.fromarray(images(1, channels=3)[0]).save(folder / "see-through.png", transparency=(1, 2, 3))
    Image.fromarray(images(2)[0]).save(
        folder / "moving.png", save_all=True, append_images=[Image.fromarray(images(2)[1])]
    )
    picture(folder / "apple.png")
    with_chunks(folder / "apple.png", before=chunk(b"iDOT", bytes(28)))
    picture(folder / "cut.png")
    (folder / "cut.png").write_bytes((folder / "cut.png").read_bytes()[:-20])
    picture(folder / "damaged.png")
    (folder / "damaged.png").write_bytes((folder / "damaged.png").read_bytes().replace(b"IDAT", b"IDAU"))
    picture(folder / "followed.png")
    (folder / "followed.png").write_bytes((folder / "followed.png").read_bytes() + noise(9))
    (folder / "named.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / "no.png").write_bytes(text(99))
    picture(folder / "a png with no ending")
    Image.fromarray(images(1, 40)[0]).save(folder / "photo.jpg")
    (folder / "empty").write_bytes(b"")
    (folder / "empty too").write_bytes(b"")
    (folder / "deep" / "er" / "still").mkdir(parents=True)
    (folder / "deep" / "er" / "still" / "notes.txt").write_bytes(text(5000))
    (folder / "deep" / "noise.bin").write_bytes(noise(5000))
    for name in ("ümläut 😀.txt", " spaces  .txt", "-o", "new\nline", "[red]x.txt", "a:b", "back\\slash", "C:x"):
        (folder / name).write_bytes(name.encode())
    (Path(os.fsdecode(os.fsencode(folder) + b"/\xff\xfe.bin"))).write_bytes(b"latin")
    os.utime(folder / "photo.jpg", ns=(5, 1_234_567_890_123_456_789))
    (folder / "photo.jpg").chmod(0o444)
    (folder / "L" / "0.png").chmod(0o755)
    os.utime(folder / "L" / "0.png", ns=(0, 0))
    return folder


def _interlace(file: Path, pixels: np.ndarray) -> None:
    """Write a grey image in the seven passes of Adam7, without filters."""
    import zlib

    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    rows = [row for top, left, down, right in passes for row in pixels[top::down, left::right] if row.size]
    head = pixels.shape[1].to_bytes(4, "big") + pixels.shape[0].to_bytes(4, "big") + bytes([8, 0, 0, 0, 1])
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b""))


AS_PIXELS = {"large", "text", "gamma", "interlaced", "a png with no ending", "0", "1", "2"}


@pytest.mark.parametrize("block_bytes", [1 << 10, 4 << 20])
def test_a_folder_comes_back(mixed: Path, block_bytes: int, tmp_path: Path) -> None:
    there_and_back(mixed, tmp_path / "again", block_bytes=block_bytes)
    for file in files_of(mixed):
        assert_same(file, tmp_path / "again" / file.relative_to(mixed))
    assert [path.name for path in tmp_path.iterdir()] == ["again"], "no debris"


def test_it_is_known_what_becomes_pixels(mixed: Path) -> None:
    found = {file.stem for file in files_of(mixed) if read_picture(file, 1 << 30) is not None}
    assert found == AS_PIXELS
    contents = open_contents(mixed)
    assert contents.has_images
    assert len(contents.images()) == 17
    assert contents.n_bytes == sum(file.stat().st_size for file in files_of(mixed))


def test_images_of_a_size_share_blocks_and_so_do_small_files(tmp_path: Path) -> None:
    for number in range(20):
        picture(tmp_path / f"{number}.png", "L" if number % 2 else "RGB", str(number))
        (tmp_path / f"{number}.json").write_bytes(text(50 + number))
    blocks = list(open_contents(tmp_path).blocks(1 << 20))
    assert [n for _, n in blocks] == [0, 20, 10, 10]
    assert len(blocks[1][0]) == sum(50 + number for number in range(20))
    assert [len(block) for block, _ in blocks[2:]] == [8 + 990, 8 + 2970]
    assert max(len(block) for block, _ in open_contents(tmp_path).blocks(1024)) <= 1024


def test_links_and_what_is_no_file_are_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "inside").mkdir(parents=True)
    (folder / "inside" / "a").write_bytes(b"a")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_bytes(b"secret")
    (folder / "link").symlink_to(tmp_path / "outside" / "secret")
    (folder / "far").symlink_to(tmp_path / "outside")
    (folder / "round").symlink_to(folder)
    os.mkfifo(folder / "pipe")
    assert decompress(io.BytesIO(archive_of(folder)), tmp_path / "again") == [tmp_path / "again" / "inside" / "a"]


def test_a_folder_without_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty" / "inside").mkdir(parents=True)
    with pytest.raises(UnreadableDataError, match=r"empty: there is no file in it\."):
        open_contents(tmp_path / "empty")


def test_one_image_is_a_file(tmp_path: Path) -> None:
    picture(tmp_path / "x.png", "RGB")
    os.utime(tmp_path / "x.png", ns=(1, 2))
    packed = archive_of(tmp_path / "x.png")
    assert decompress(io.BytesIO(packed), tmp_path / "y.png") == [tmp_path / "y.png"]
    assert_same(tmp_path / "x.png", tmp_path / "y.png")
    stream = io.BytesIO()
    assert decompress(io.BytesIO(packed), stream) == []
    assert stream.getvalue() == (tmp_path / "y.png").read_bytes()
    (tmp_path / "no.png").write_bytes(text(2000))
    decompress(io.BytesIO(archive_of(tmp_path / "no.png", block_bytes=1024)), tmp_path / "again.png")
    assert (tmp_path / "again.png").read_bytes() == text(2000)
    assert {path.name for path in tmp_path.iterdir()} == {"x.png", "y.png", "no.png", "again.png"}


def test_an_image_too_large_for_a_block_is_kept_as_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(tmp_path / "in" / "fits.png")
    picture(tmp_path / "in" / "large.png", side=10)
    monkeypatch.setattr(folders, "MOST_BLOCK_BYTES", 99 + 8)
    assert len(open_contents(tmp_path / "in").images()) == 1
    there_and_back(tmp_path / "in", tmp_path / "out")
    assert (tmp_path / "out" / "large.png").read_bytes() == (tmp_path / "in" / "large.png").read_bytes()


def test_an_image_that_unpacks_to_more_than_a_block_is_not_unpacked(tmp_path: Path) -> None:
    import zlib

    head = (30_000).to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0])
    data = zlib.compress(bytes(2_000_000))
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    (tmp_path / "bomb.png").write_bytes(content)
    decompress(io.BytesIO(archive_of(tmp_path / "bomb.png")), tmp_path / "again.png")
    assert (tmp_path / "again.png").read_bytes() == content


def test_what_changes_while_it_is_read_is_told(tmp_path: Path) -> None:
    for name, change in {
        "x.png": lambda file: picture(file, "RGB"),
        "y.png": lambda file: file.write_bytes(b"no png"),
        "z.bin": lambda file: file.write_bytes(b"short"),
    }.items():
        folder = tmp_path / name
        picture(folder / "a.png")
        picture(folder / name) if name != "z.bin" else (folder / name).write_bytes(noise(900))
        contents = open_contents(folder)
        change(folder / name)
        with pytest.raises(UnreadableDataError, match=rf"{name}: it was changed while it was read\."):
            compress(contents, tmp_path / "x.lkz", None)
        assert not (tmp_path / "x.lkz").exists()


def test_what_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "a").write_bytes(b"a")

    def refuse(*arguments: object) -> None:
        raise PermissionError(13, "Permission denied", str(tmp_path / "in"))

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", refuse)
        with pytest.raises(UnreadableDataError, match=r"in: cannot be read \(Permission denied\)"):
            open_contents(tmp_path)
    monkeypatch.setattr(folders, "read_picture", refuse)
    with pytest.raises(UnreadableDataError, match=r"a: cannot be read \(Permission denied\)"):
        open_contents(tmp_path)


# Writing


def test_a_folder_is_not_written_over_another(tmp_path: Path) -> None:
    picture(tmp_path / "in" / "a.png")
    packed = archive_of(tmp_path / "in")
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "mine").write_bytes(b"mine")
    (tmp_path / "file").write_bytes(b"mine")
    for target in ("there", "file"):
        with pytest.raises(InvalidParameterError, match=rf"{target} is there already\. Choose a new folder, or an"):
            decompress(io.BytesIO(packed), tmp_path / target)
    assert (tmp_path / "there" / "mine").read_bytes() == (tmp_path / "file").read_bytes() == b"mine"
    (tmp_path / "empty").mkdir()
    assert decompress(io.BytesIO(packed), tmp_path / "empty") == [tmp_path / "empty" / "a.png"]
    assert decompress(io.BytesIO(packed), tmp_path / "new" / "er") == [tmp_path / "new" / "er" / "a.png"]
    with pytest.raises(UnsupportedOperationError, match="a folder cannot be written to a stream"):
        decompress(io.BytesIO(packed), io.BytesIO())


def test_a_damaged_archive_leaves_nothing(mixed: Path, tmp_path: Path) -> None:
    whole = archive_of(mixed)
    for place in range(100, len(whole), len(whole) // 12):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        with pytest.raises(DamagedArchiveError):
            decompress(io.BytesIO(damaged), tmp_path / "out", n_workers=1)
        assert list(tmp_path.iterdir()) == []


def test_what_is_left_of_a_damaged_folder_is_its_whole_files(mixed: Path, tmp_path: Path) -> None:
    whole = archive_of(mixed, block_bytes=4096)
    with ArchiveReader(io.BytesIO(whole)) as reader:
        blocks = reader.blocks
    files = [path.relative_to(tmp_path / "all") for path in decompress(io.BytesIO(whole), tmp_path / "all")]
    for number, block in enumerate(blocks):
        damaged = bytearray(whole)
        damaged[block.offset + 20] ^= 1
        if not block.n_items and not block.first:
            with pytest.raises(DamagedArchiveError, match="its listing is not whole"):
                salvage(io.BytesIO(damaged), tmp_path / str(number))
            assert not (tmp_path / str(number)).exists()
            continue
        found, left = salvage(io.BytesIO(damaged), tmp_path / str(number))
        lost = range(block.first, block.first + max(1, block.n_items))
        assert found == [tmp_path / str(number) / file for n, file in enumerate(files) if n not in lost]
        assert files_of(tmp_path / str(number)) == sorted(found)
        assert left.lost_items == ((lost,) if block.n_items else ())
        for file in found[::5]:
            assert_same(mixed / file.relative_to(tmp_path / str(number)), file)
    assert sum(not block.n_items for block in blocks) > 2, "of a file that is larger than a block, a part was lost, too"
    found, left = salvage(io.BytesIO(whole[:-10]), tmp_path / "cut")
    assert (len(found), left.lost_items) == (len(files), ())


def test_a_folder_of_which_no_file_is_left_is_not_written(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").write_bytes(noise(400))
    packed = bytearray(archive_of(tmp_path / "in"))
    with ArchiveReader(io.BytesIO(packed)) as reader:
        packed[reader.blocks[-1].offset + 20] ^= 1
    with pytest.raises(DamagedArchiveError, match=r"none of its files is whole\."):
        salvage(io.BytesIO(packed), tmp_path / "out")
    assert not (tmp_path / "out").exists()


TIME = 1_700_000_000_000_000_000


def entry(path: Any = "x", n_bytes: Any = 1, mode: Any = 0o644, time: Any = TIME, image: Any = None) -> list[Any]:
    return [path, n_bytes, mode, time, image]


PATHS = ["../x", "a/../../x", "/x", "", ".", "./x", "a//x", "a/", "..", "a\0b", "\ud800", "x" * 256, "a/" * 600 + "x"]
LISTINGS = {
    **{f"path {path[:9]!r}": [entry(path)] for path in PATHS},
    **{f"path {path!r}": [entry(path)] for path in (5, None, ["x"], {"x": 1}, True)},
    "twice": [entry(), entry()],
    "twice, as a folder": [entry(), entry("x/y")],
    "as a folder before": [entry("x/y"), entry()],
    "as a deep folder": [entry("x/y/z"), entry("x")],
    "nothing": [],
    "no list": {"x": 1},
    "no json": b"[",
    "no text": b"\xff",
    "deep": b"[" * 50_000,
    "short entry": [["x", 1]],
    "entry of another kind": ["x", 5, None],
    "negative size": [entry(n_bytes=-1)],
    "huge size": [entry(n_bytes=10**30)],
    "larger": [entry(n_bytes=2)],
    "smaller": [entry(n_bytes=0)],
    "size of another kind": [entry(n_bytes="1")],
    "size that is a truth": [entry(n_bytes=True)],
    "size that is none": [entry(n_bytes=1.0)],
    "mode of another kind": [entry(mode="rw")],
    "negative time": [entry(time=-1)],
    "huge time": [entry(time=1 << 63)],
    "more files": [entry(), entry("y")],
    "image": [entry(image=[[1, 1, 1], "", ""])],
    "image without pixels": [entry(image=[[1, 1, 1], "", ""], n_bytes=1), entry("y", 0)],
    "image of another size": [entry(image=[[2, 1, 1], "", ""])],
    "image of five channels": [entry(image=[[1, 1, 5], "", ""], n_bytes=5)],
    "image of no size": [entry(image=[[0, 1, 1], "", ""], n_bytes=0)],
    "huge image": [entry(image=[[1 << 40, 1 << 40, 1], "", ""], n_bytes=1 << 80)],
    "image of truths": [entry(image=[[True, True, True], "", ""])],
    "image of text": [entry(image="image")],
    "chunks of no base64": [entry(image=[[1, 1, 1], "?", ""])],
    "chunks that are none": [entry(image=[[1, 1, 1], "AAAA", ""])],
}


@pytest.mark.parametrize("listing", LISTINGS.values(), ids=LISTINGS)
def test_hostile_listings_are_refused(listing: Any, tmp_path: Path) -> None:
    (tmp_path / "place").mkdir()
    for is_file in (False, True):
        with pytest.raises(DamagedArchiveError):
            decompress(
                folder_archive(listing, b"a", meta={"is_file": is_file}), tmp_path / "place" / "out", n_workers=1
            )
        assert list(tmp_path.rglob("*")) == [tmp_path / "place"], "nothing is written, inside or outside"


def test_names_that_other_systems_take_for_places_are_refused_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["C:x", "a\\b", "..\\x"]
    for name in names:
        decompress(folder_archive([entry(name)], b"a"), tmp_path / name / "out", n_workers=1)
        assert [path.name for path in (tmp_path / name / "out").iterdir()] == [name], "here they are names"
    monkeypatch.setattr(folders, "_BARRED", "\\:\0")
    for name in names:
        with pytest.raises(DamagedArchiveError, match="is no name of a file inside a folder"):
            decompress(folder_archive([entry(name)], b"a"), tmp_path / "out", n_workers=1)
        assert not (tmp_path / "out").exists()


PIXEL = [[1, 1, 1], "", ""]


@pytest.mark.parametrize(
    ("listing", "blocks", "message"),
    [
        ([entry()], [], "ends before its last file does"),
        ([entry(), entry("y")], [b"a"], "ends before its last file does"),
        ([entry()], [b"a", b"b"], "more than the files of its listing"),
        ([entry()], [b"a", b""], "more than the files of its listing"),
        ([entry()], [(b"a", 2)], "more than the files of its listing"),
        ([entry()], [b"ab"], "x: its block holds more than the files of its listing"),
        ([entry()], [b""], "x: its block does not have all of the files"),
        ([entry()], [(b"a", 0)], "x: its block does not have all of the files"),
        ([entry(n_bytes=2)], [(b"a", 0), b"bc"], "x: its block holds more"),
        ([entry(), entry("y")], [(b"a", 2)], "x: its block does not have all of"),
        ([entry(), entry("y")], [(b"a", 0), (b"ab", 2)], "x: its block holds more"),
        ([entry(image=PIXEL)], [bytes(8)], "x: its block does not have all of"),
        ([entry(image=PIXEL)], [bytes(10)], "x: its block holds more"),
        ([entry(image=PIXEL)], [(bytes(9), 0)], "x: its pixels are in parts"),
        ([entry(image=PIXEL)], [bytes(7)], "a block of images has no size"),
        ([entry(image=PIXEL), entry("y")], [(bytes(10), 2)], "y: what belongs to another file"),
        ([entry(), entry("y", image=PIXEL)], [(b"ab", 2)], "y: what belongs to another file"),
    ],
)
def test_blocks_that_are_not_those_of_the_listing_are_refused(
    listing: Any, blocks: list[bytes], message: str, tmp_path: Path
) -> None:
    with pytest.raises(DamagedArchiveError, match=message):
        decompress(folder_archive(listing, *blocks), tmp_path / "out", n_workers=1)
    assert list(tmp_path.iterdir()) == []


def test_permissions_are_no_more_than_permissions(tmp_path: Path) -> None:
    (file,) = decompress(folder_archive([entry(mode=0o7777)], b"a"), tmp_path / "out", n_workers=1)
    assert stat.S_IMODE(file.stat().st_mode) == 0o777
    (file,) = decompress(folder_archive([entry(time=(1 << 63) - 1)], b"a"), tmp_path / "late", n_workers=1)
    assert file.read_bytes() == b"a"


@pytest.mark.parametrize("length", [None, 0, -1, "40", 40.0, True, (1 << 28) + 1])
def test_a_listing_has_a_length(length: Any, tmp_path: Path) -> None:
    with pytest.raises(DamagedArchiveError, match="does not say how its files are listed"):
        decompress(folder_archive([entry()], b"a", meta={"listing": length}), tmp_path / "out", n_workers=1)
    for other in (1, 38, 1 << 28):
        with pytest.raises(DamagedArchiveError):
            decompress(folder_archive([entry()], b"a", meta={"listing": other}), tmp_path / "out", n_workers=1)
    assert list(tmp_path.iterdir()) == []


def test_files_are_written_from_blocks_as_they_come(tmp_path: Path) -> None:
    content = noise(5000)
    pieces = [content[place : place + 7] for place in range(0, 5000, 7)]
    parts = [(piece, int(number == len(pieces) - 1)) for number, piece in enumerate(pieces)]
    stream = folder_archive([entry("a", 5000), entry("b", 0), entry("c", 9)], *parts, (b"c" * 9, 2))
    decompress(stream, tmp_path / "out", n_workers=2)
    assert (tmp_path / "out" / "a").read_bytes() == content
    assert (tmp_path / "out" / "b").read_bytes() == b""
    assert (tmp_path / "out" / "c").read_bytes() == b"c" * 9


@pytest.mark.parametrize("block_bytes", [1 << 10, 4 << 20])
def test_some_files_of_a_folder(mixed: Path, block_bytes: int, tmp_path: Path) -> None:
    """Each file is an item, whatever block it is in, and the empty ones are items, too."""
    packed = archive_of(mixed, block_bytes=block_bytes)
    files = decompress(io.BytesIO(packed), tmp_path / "all")
    n = len(files)
    with ArchiveReader(io.BytesIO(packed)) as reader:
        assert reader.n_items == n == len(files_of(mixed))
    for rows in (0, n - 1, slice(3, 9), slice(n - 5, None), slice(-4, -2)):
        chosen = files[rows] if isinstance(rows, slice) else [files[rows]]
        target = tmp_path / str(rows)
        found = decompress(io.BytesIO(packed), target, rows=rows)
        assert found == [target / file.relative_to(tmp_path / "all") for file in chosen]
        assert files_of(target) == sorted(found)
        for file in found:
            assert_same(mixed / file.relative_to(target), file)
    with pytest.raises(InvalidParameterError, match=rf"there are no rows {n}: the archive has {n}, from 0 on\."):
        decompress(io.BytesIO(packed), tmp_path / "none", rows=n)
    assert not (tmp_path / "none").exists()
