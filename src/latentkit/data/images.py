"""Reading folders of images of any sizes and modes into one array of bytes, in parallel."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from latentkit.core.errors import UnreadableDataError
from latentkit.core.parameters import check_choice
from latentkit.data.dataset import AnyArray, Dataset, Progress
from latentkit.data.layout import Size, check_size

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["IMAGE_ENDINGS", "read_images"]

IMAGE_ENDINGS = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".tga"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".avif"),
)
#: Images of one common size are taken as they are up to this side.
_LARGEST_COMMON_SIDE = 128
#: Otherwise they become squares of at most this side, and of at least the other one.
_DEFAULT_SIDE, _SMALLEST_SIDE = 64, 8
_GREY_MODES = ("1", "L", "LA", "La", "I", "F")
_ORIENTATION, _TIFF_WIDTH, _TIFF_HEIGHT = 0x0112, 0x0100, 0x0101

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Header:
    """What the first bytes of an image file say."""

    width: int
    height: int
    is_grey: bool
    is_deep: bool
    n_frames: int


@dataclass(frozen=True, slots=True)
class _Target:
    height: int
    width: int
    is_grey: bool
    fit: str


def read_images(
    source: Path,
    *,
    size: Size | None = None,
    color: str = "auto",
    fit: str = "crop",
    skip_bad: bool = False,
    progress: Progress | None = None,
) -> Dataset:
    """Read the images of a folder and its subfolders, or one image file, in the order of their names.

    Orientation stated by EXIF is applied, transparency is laid over white, 16 bits become 8, of animations the first
    frame is taken. Grey scale is used where every image is grey. Without `size`, images of one common size up to 128
    stay as they are, and others become squares of the shortest side found, at least 8 and at most 64.

    Args:
        source: Folder or image file.
        size: Height and width of what comes out, or the side of a square.
        color: ``"auto"``, ``"grey"`` or ``"rgb"``.
        fit: ``"crop"`` cuts the middle out, ``"stretch"`` distorts, ``"pad"`` adds black borders.
        skip_bad: Whether unreadable files are left out, with a note, instead of being an error.
        progress: Called with the number of images decoded and of all.
    Returns:
        uint8 images, shape (n, height, width) or (n, height, width, 3); labels are the names of first-level subfolders
        where every image lies in one and there are several.
    Raises:
        UnreadableDataError: If there is no image, or one cannot be read.
    """
    wanted = check_size(size)
    check_choice("color", color, ["auto", "grey", "rgb"])
    check_choice("fit", fit, ["crop", "stretch", "pad"])
    notes: list[str] = []
    paths = _image_paths(source, notes)
    bad: dict[Path, str] = {}
    # PIL lets go of the interpreter lock while it decodes, so that threads share the cores and the array.
    with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
        headers = _headers(paths, pool, bad, skip_bad)
        if not headers:
            raise UnreadableDataError(
                f"{source}: none of the {len(bad)} images can be read; the first: {next(iter(bad.values()))}. "
                "Check that these files are images"
            )
        height, width = wanted or _default_size(headers.values(), notes)
        all_grey = all(header.is_grey for header in headers.values())
        target = _Target(height, width, color == "grey" or (color == "auto" and all_grey), fit)
        paths = list(headers)
        data = np.empty((len(paths), height, width) if target.is_grey else (len(paths), height, width, 3), np.uint8)

        def decode(index: int) -> str | None:
            try:
                data[index] = _decode(paths[index], target)
            except Exception as error:
                return _reason(error)
            return None

        good = np.ones(len(paths), np.bool_)
        for index, reason in enumerate(pool.map(decode, range(len(paths)))):
            if reason is not None:
                _count_bad(paths[index], reason, bad, skip_bad)
                good[index] = False
            if progress is not None:
                progress(index + 1, len(paths))
    if not good.all():
        data, paths = data[good], [path for path, is_good in zip(paths, good, strict=True) if is_good]
        if not paths:
            raise UnreadableDataError(
                f"{source}: none of the {len(bad)} images can be read; the first: {next(iter(bad.values()))}. "
                "Check that these files are images"
            )
    if color == "auto" and not target.is_grey and _has_no_colour(data):
        data = np.ascontiguousarray(data[..., 0])
        notes.append("the images are stored in colour, but every pixel is grey: read as grey scale")
    notes += _header_notes(headers.values(), bad)
    labels, names = _folder_labels(source, paths, notes)
    return Dataset(data, str(source), "images", labels, names, tuple(notes))


def _image_paths(source: Path, notes: list[str]) -> list[Path]:
    if source.is_file():
        return [source]
    found: list[Path] = []
    others: dict[str, int] = {}
    seen: set[str] = set()
    for folder, subfolders, names in os.walk(source, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # a link that leads back
            subfolders.clear()
            continue
        seen.add(real)
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        for name in names:
            if name.startswith("."):
                continue
            ending = Path(name).suffix.lower()
            if ending in IMAGE_ENDINGS:
                found.append(Path(folder, name))
            else:
                others[ending or "no ending"] = others.get(ending or "no ending", 0) + 1
    what = ", ".join(f"{count} with {ending}" for ending, count in sorted(others.items())[:5])
    if not found:
        holds = f"it holds other files ({what})" if others else "the folder is empty"
        raise UnreadableDataError(
            f"{source}: there are no images in this folder; {holds}. Give a folder of "
            f"{', '.join(IMAGE_ENDINGS[:5])} ... files, or one data file by its name"
        )
    if others:
        notes.append(f"{sum(others.values())} files that are no images were left out ({what})")
    return sorted(found, key=lambda path: path.relative_to(source).as_posix())


def _headers(
    paths: Sequence[Path], pool: ThreadPoolExecutor, bad: dict[Path, str], skip_bad: bool
) -> dict[Path, _Header]:
    headers: dict[Path, _Header] = {}
    for path, result in zip(paths, pool.map(_attempt(_header), paths), strict=True):
        if isinstance(result, str):
            _count_bad(path, result, bad, skip_bad)
        else:
            headers[path] = result
    return headers


def _attempt(function: Callable[[Path], T]) -> Callable[[Path], T | str]:
    def attempt(path: Path) -> T | str:
        try:
            return function(path)
        except Exception as error:
            return _reason(error)

    return attempt


def _count_bad(path: Path, reason: str, bad: dict[Path, str], skip_bad: bool) -> None:
    bad[path] = f"{path}: {reason}"
    if not skip_bad:
        raise UnreadableDataError(
            f"{path}: this image cannot be read ({reason}). Repair or remove it, or allow unreadable images to be "
            "skipped with skip_bad=True (--skip-bad)"
        )


def _reason(error: Exception) -> str:
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return "not an image, or of an unknown format"
    return str(error) or type(error).__name__


def _open(path: Path) -> Image.Image:
    from PIL import Image

    # Pillow maps plain TIFF files into memory, and then garbles those that stand on their side (seen with 13.0).
    return Image.open(io.BytesIO(path.read_bytes()) if path.suffix.lower() in (".tif", ".tiff") else path)


def _header(path: Path) -> _Header:
    with _open(path) as image:
        # Some versions of Pillow swap the sides of a TIFF while opening it; its own tags say what is stored.
        tags = getattr(image, "tag_v2", {})
        width, height = tags.get(_TIFF_WIDTH, image.size[0]), tags.get(_TIFF_HEIGHT, image.size[1])
        if image.getexif().get(_ORIENTATION, 1) >= 5:
            width, height = height, width
        grey = image.mode in _GREY_MODES or image.mode.startswith("I;16")
        if image.mode == "P":
            grey = _is_grey_palette(image)
        return _Header(width, height, grey, image.mode[0] in "IF", getattr(image, "n_frames", 1))


def _is_grey_palette(image: Image.Image) -> bool:
    palette = np.asarray(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
    return bool((palette[:, 0] == palette[:, 1]).all() and (palette[:, 0] == palette[:, 2]).all())


def _default_size(headers: Any, notes: list[str]) -> tuple[int, int]:
    sizes = {(header.height, header.width) for header in headers}
    if len(sizes) == 1:
        height, width = next(iter(sizes))
        if max(height, width) <= _LARGEST_COMMON_SIDE:
            return height, width
        found = f"all images are {height} x {width}"
    else:
        sides = [side for size in sizes for side in size]
        found = f"the images have {len(sizes)} sizes, sides {min(sides)} to {max(sides)}"
    side = max(_SMALLEST_SIDE, min(_DEFAULT_SIDE, *(min(size) for size in sizes)))
    notes.append(f"{found}; brought to {side} x {side}. Choose another with size=96 or size=(height, width)")
    return side, side


def _decode(path: Path, target: _Target) -> AnyArray:
    """Return one image as uint8 of the target's size and colour."""
    from PIL import Image, ImageOps

    with _open(path) as image:
        sides = target.width, target.height
        turned = image.getexif().get(_ORIENTATION, 1) >= 5
        if image.format == "JPEG":
            # The decoder itself shrinks by 2, 4 or 8; asked for twice the size, it leaves resampling its quality.
            width, height = _cover(*(image.size[::-1] if turned else image.size), target)
            image.draft(None, (2 * height, 2 * width) if turned else (2 * width, 2 * height))
        upright = ImageOps.exif_transpose(image) if turned or _ORIENTATION in image.getexif() else image
        plain = _to_plain(upright, grey=target.is_grey)
    if plain.size == sides:
        return np.asarray(plain)
    if target.fit == "stretch":
        return np.asarray(plain.resize(sides, Image.Resampling.LANCZOS, reducing_gap=3.0))
    if target.fit == "pad":
        return np.asarray(ImageOps.pad(plain, sides, Image.Resampling.LANCZOS, color=0))
    width, height = _cover(*plain.size, target)
    covering = plain.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)
    left, top = (width - target.width) // 2, (height - target.height) // 2
    return np.asarray(covering.crop((left, top, left + target.width, top + target.height)))


def _cover(width: int, height: int, target: _Target) -> tuple[int, int]:
    """Return the size, of the same proportions, that just covers the target."""
    factor = max(target.width / width, target.height / height)
    return max(target.width, round(width * factor)), max(target.height, round(height * factor))


def _to_plain(image: Image.Image, *, grey: bool) -> Image.Image:
    """Return an image of any mode as ``"L"`` or ``"RGB"``."""
    from PIL import Image

    mode = "L" if grey else "RGB"
    if image.mode[0] in "IF":
        return Image.fromarray(_eight_bits(np.asarray(image))).convert(mode)
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        layers = image.convert("RGBA")
        white = Image.new("RGBA", layers.size, "white")
        return Image.alpha_composite(white, layers).convert(mode)
    if image.mode == mode:
        image.load()
        return image
    # Grey from a palette or from CMYK needs the colours first.
    return (image if image.mode in ("1", "L", "RGB") else image.convert("RGB")).convert(mode)


def _eight_bits(values: AnyArray) -> AnyArray:
    """Return deep grey values as bytes: 65535 becomes 255, floats of 0..1 become 0..255."""
    low, high = float(values.min()), float(values.max())
    if values.dtype.kind == "f" and low >= 0 and high <= 1:
        values, limit = values * 255, 255
    limit = 255 if values.dtype.kind == "f" else 65535
    if low < 0 or high > limit or not math.isfinite(high):
        raise ValueError(f"its values go from {low:g} to {high:g}; convert it to 8 or 16 bits first")
    scaled: AnyArray = np.rint(values * (255 / limit)).astype(np.uint8)
    return scaled


def _has_no_colour(data: AnyArray) -> bool:
    return all(
        bool((image[..., 0] == image[..., 1]).all() and (image[..., 0] == image[..., 2]).all()) for image in data
    )


def _header_notes(headers: Any, bad: dict[Path, str]) -> Iterator[str]:
    deep, moving = sum(h.is_deep for h in headers), sum(h.n_frames > 1 for h in headers)
    if deep:
        yield f"{deep} images have more than 8 bits a channel: reduced to 8"
    if moving:
        yield f"{moving} images have several frames: the first is taken"
    if bad:
        yield f"{len(bad)} unreadable images were skipped; the first: {next(iter(bad.values()))}"


def _folder_labels(
    source: Path, paths: Sequence[Path], notes: list[str]
) -> tuple[NDArray[np.int64] | None, tuple[str, ...] | None]:
    if source.is_file():
        return None, None
    parts = [path.relative_to(source).parts for path in paths]
    names = sorted({part[0] for part in parts if len(part) > 1})
    if len(names) < 2:
        return None, None
    if any(len(part) == 1 for part in parts):
        notes.append(
            "some images lie in subfolders and some do not: the names of the subfolders are not taken as labels"
        )
        return None, None
    notes.append(f"the names of the {len(names)} subfolders are the labels")
    codes = {name: code for code, name in enumerate(names)}
    return np.asarray([codes[part[0]] for part in parts], np.int64), tuple(names)
