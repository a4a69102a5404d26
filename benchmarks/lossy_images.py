"""Learned lossy compression of images against JPEG, WebP and JPEG XL: rate at equal PSNR.

    python benchmarks/lossy_images.py [--seconds 900] [--plot curves.png [--stored]]

A model is trained on the 10,000 training images of CIFAR-10's subset for so long, on one core unless OMP_NUM_THREADS
says otherwise, and is then measured on its 1,000 test images, as one block that is decoded again, and on the 24
photographs of Kodak, one by one, which it has never seen the like of. The bytes of the model itself are given beside
the rates, and are not in them. MS-SSIM is that of luma.

Headers make up most of a small JPEG file, so that JPEG is measured in three ways: as files, as files less the size of a
file that holds a constant image, and as one mosaic of all images. JPEG's rate at a PSNR is the lower one of 4:4:4 and
4:2:0.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from _measuring import RESULTS, data_folder, store
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Curve = list[dict[str, float]]

QUALITIES = (1, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100)
PHOTO_QUALITIES = (5, 30, 55, 80)
OTHER_QUALITIES = (5, 10, 20, 35, 50, 70, 85, 93, 97)
JXL_QUALITIES = (10, 20, 35, 50, 70, 85, 93, 97)


def psnr(images: Pixels, others: Pixels) -> float:
    from latentkit.evaluation import psnr

    return float(psnr(np.array(images), np.array(others), data_range=255).clamp(max=100.0).mean())


def ms_ssim(image: Pixels, other: Pixels) -> float:
    from latentkit.evaluation import ms_ssim

    luma = [np.array(part @ [0.299, 0.587, 0.114])[None] for part in (image, other)]
    return float(ms_ssim(*luma, data_range=255))


# Other coders


def as_file(image: Pixels, settings: dict[str, Any]) -> tuple[int, Pixels]:
    """Bytes of a file, and what it shows."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, **settings)
    return buffer.getbuffer().nbytes, np.asarray(Image.open(buffer).convert("RGB"))


def contestants() -> dict[str, list[dict[str, Any]]]:
    found = {
        name: [{"format": "JPEG", "quality": q, "optimize": True, "subsampling": code} for q in OTHER_QUALITIES]
        for name, code in (("jpeg_444", 0), ("jpeg_420", 2))
    }
    found["webp"] = [{"format": "WEBP", "quality": q, "method": 6} for q in OTHER_QUALITIES]
    try:
        import pillow_jxl  # noqa: F401
    except ImportError:
        print("no JPEG XL: pillow-jxl-plugin is not installed")
    else:
        found["jxl"] = [{"format": "JXL", "quality": q, "effort": 7, "num_threads": 1} for q in JXL_QUALITIES]
    return found


def mosaic(images: Pixels) -> Pixels:
    """Images side by side, as many as fill a square."""
    side = int(len(images) ** 0.5)
    size = images.shape[1]
    tiles = images[: side * side].reshape(side, side, size, size, 3)
    return np.ascontiguousarray(tiles.transpose(0, 2, 1, 3, 4).reshape(side * size, side * size, 3))


def tiles(picture: Pixels, size: int) -> Pixels:
    side = picture.shape[0] // size
    parts = picture.reshape(side, size, side, size, 3)
    return np.ascontiguousarray(parts.transpose(0, 2, 1, 3, 4).reshape(-1, size, size, 3))


def small_images(images: Pixels, points: Iterable[dict[str, Any]]) -> dict[str, Curve]:
    """A coder's curves on images of one small size: as files, as files without their headers, as one mosaic."""
    curves: dict[str, Curve] = {"files": [], "headless": [], "mosaic": []}
    size, n_pixels = images.shape[1], images[0, ..., 0].size
    for settings in points:
        files = [as_file(image, settings) for image in images]
        quality = psnr(images, np.stack([shown for _, shown in files]))
        bits = 8 * float(np.mean([n_bytes for n_bytes, _ in files]))
        header = 8 * as_file(np.full_like(images[0], 128), settings)[0]
        curves["files"].append({"bpp": bits / n_pixels, "psnr": quality})
        curves["headless"].append({"bpp": (bits - header) / n_pixels, "psnr": quality})
        picture = mosaic(images)
        n_bytes, shown = as_file(picture, settings)
        parts = (tiles(picture, size), tiles(shown, size))
        curves["mosaic"].append({"bpp": 8 * n_bytes / picture[..., 0].size, "psnr": psnr(*parts)})
    return curves


def photographs(images: list[Pixels], code: Callable[[Pixels], tuple[int, Pixels]]) -> dict[str, float]:
    """Means over images of rate, PSNR and MS-SSIM."""
    rows = []
    for image in images:
        n_bytes, shown = code(image)
        rows.append((8 * n_bytes / image[..., 0].size, psnr(image[None], shown[None]), ms_ssim(image, shown)))
    bpp, decibels, similarity = np.mean(rows, 0).tolist()
    return {"bpp": bpp, "psnr": decibels, "ms_ssim": similarity}


# The learned coder


def learned_block(coder: Any, images: Pixels, quality: int) -> dict[str, float]:
    own = coder.of(quality=quality)
    start = time.perf_counter()
    content, known = own.encode_known(block_of(images), len(images))
    middle = time.perf_counter()
    assert own.decode(content, len(images), len(known)) == known
    end = time.perf_counter()
    shown = shown_by(known, images)
    return {
        "quality": quality,
        "bpp": 8 * len(content) / images[..., 0].size,
        "psnr": psnr(images, shown),
        "encode_mpx_per_s": images[..., 0].size / (middle - start) / 1e6,
        "decode_mpx_per_s": images[..., 0].size / (end - middle) / 1e6,
    }


def learned_photograph(coder: Any, image: Pixels, quality: int) -> tuple[int, Pixels]:
    content, known = coder.of(quality=quality).encode_known(block_of(image[None]), 1)
    return len(content), shown_by(known, image)


def block_of(images: Pixels) -> bytes:
    from latentkit.codec.images import Pixels

    return Pixels.block(images)


def shown_by(known: bytes, images: Pixels) -> Pixels:
    """What a block shows in place of images."""
    return np.frombuffer(known, np.uint8, offset=8).reshape(images.shape)


def cost_of_whole_numbers(coder: Any, images: Pixels) -> dict[str, float]:
    """Decibels that the network in floating-point numbers has more at the same steps, for three qualities."""
    import torch

    found = {}
    for quality in (10, 50, 90):
        own = coder.of(quality=quality, bit_worth=0.0)
        shown = shown_by(own.reconstruct(block_of(images), len(images)), images)
        real = coder.encoder.reconstruct(torch.from_numpy(images).permute(0, 3, 1, 2), quality)
        found[str(quality)] = psnr(images, real.permute(0, 2, 3, 1).numpy()) - psnr(images, shown)
    return found


# Figures


def best_of(curves: Iterable[Curve]) -> Curve:
    """The lowest rate at each of many qualities."""
    from scipy.interpolate import PchipInterpolator

    lines = []
    for curve in curves:
        x, y = np.array([[point["psnr"], np.log(point["bpp"])] for point in rising(curve)]).T
        lines.append((x[0], x[-1], PchipInterpolator(x, y)))
    grid = np.linspace(min(line[0] for line in lines), max(line[1] for line in lines), 25)
    rates = [min(float(np.exp(line(q))) for low, high, line in lines if low <= q <= high) for q in grid]
    return [{"bpp": rate, "psnr": float(q)} for rate, q in zip(rates, grid, strict=True)]


def rate_against(curve: Curve, other: Curve, by: str = "psnr") -> float:
    """How much more the learned curve takes than another, in percent; negative is less."""
    from latentkit.evaluation import bjontegaard_rate

    pairs = [
        ([point["bpp"] for point in each], [point[by] for point in each])
        for each in (rising(other, by), rising(curve, by))
    ]
    return 100 * bjontegaard_rate(*pairs[0], *pairs[1])


def rising(curve: Curve, by: str = "psnr") -> Curve:
    """The points that no point of a lower rate surpasses."""
    kept: Curve = []
    for point in sorted(curve, key=lambda point: point["bpp"]):
        if not kept or point[by] > kept[-1][by]:
            kept.append(point)
    return kept


def draw(figures: dict[str, Any], path: Path) -> None:
    """Draw the curves: on the left small images, each classic coder by its best way, on the right photographs."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    panels = {
        "The learnt domain: CIFAR-10, test images, 32 × 32": (
            figures["cifar"],
            {"learned": "latentkit", "jxl_mosaic": "JPEG XL, one mosaic", "webp_mosaic": "WebP, one mosaic"}
            | {"jpeg_mosaic": "JPEG, one mosaic", "jpeg_files": "JPEG files"},
            (0, 6),
        ),
        "Photographs, with the same model: Kodak, 768 × 512": (
            figures["kodak"],
            {"learned": "latentkit", "webp": "WebP", "jxl": "JPEG XL", "jpeg": "JPEG"},
            (0, 2.6),
        ),
    }
    colours = {"learned": "#b8322a", "jxl": "#2f6f9f", "webp": "#3f8f5b", "jpeg": "#6b6b6b"}
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.4), sharey=True)
    for axis, (title, (curves, names, limits)) in zip(axes, panels.items(), strict=True):
        for key, label in names.items():
            points = [(point["bpp"], point["psnr"]) for point in curves[key] if point["bpp"] <= limits[1]]
            ours = key == "learned"
            style = {"color": colours[key.split("_")[0]], "linestyle": ":" if key.endswith("_files") else "-"}
            axis.plot(
                *zip(*points, strict=True), label=label, lw=2.6 if ours else 1.5, zorder=3 if ours else 2, **style
            )
        axis.set(xlabel="bits a pixel", xlim=limits, ylim=(20, 41))
        axis.set_title(title, loc="left", fontsize=11)
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(frameon=False, loc="lower right")
    axes[0].set_ylabel("PSNR, dB")
    figure.tight_layout()
    figure.savefig(path, dpi=100)


def rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [rounded(part) for part in value]
    return round(value, 4) if isinstance(value, float) else value


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=900.0, help="budget of training")
    parser.add_argument("--steps", type=int, default=25_000, help="steps of training, at most")
    parser.add_argument(
        "--network", type=Path, help="weights (.safetensors), read instead of training if they are there"
    )
    parser.add_argument("--plot", type=Path, help="a PNG file for the curves")
    parser.add_argument("--stored", action="store_true", help="measure nothing: draw the figures that are stored")
    parser.add_argument("--only", type=int, default=0, help="so many test images and photographs (for a quick look)")
    options = parser.parse_args()
    if options.stored:
        draw(json.loads((RESULTS / "lossy_images.json").read_text())["figures"], options.plot)
        return
    import torch
    from PIL import Image

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    with np.load(data_folder() / "images" / "cifar10_subset.npz") as file:
        train, test = file["x_train"], file["x_test"]
    photos = [np.asarray(Image.open(path)) for path in sorted((data_folder() / "images" / "kodak").glob("*.png"))]
    if options.only:
        test, photos = test[: options.only], photos[: options.only // 10 + 1]

    coder, course = trained(train, options)
    state = coder.state().to_bytes()
    figures: dict[str, Any] = {**course, "state_bytes": len(state)}
    figures["state_bytes_zstd_19"] = zstd(state)
    print(figures, flush=True)
    figures["lost_to_whole_numbers_db"] = cost_of_whole_numbers(coder, test)
    small = {"learned": [learned_block(coder, test, quality) for quality in QUALITIES]}
    for name, points in contestants().items():
        small |= {f"{name}_{way}": curve for way, curve in small_images(test, points).items()}
    for way in ("files", "headless", "mosaic"):
        small[f"jpeg_{way}"] = best_of([small.pop(f"jpeg_444_{way}"), small.pop(f"jpeg_420_{way}")])
    figures["cifar"] = small
    figures["cifar_bd_rate_percent"] = {
        name: rate_against(small["learned"], curve) for name, curve in small.items() if name != "learned"
    }
    print(rounded(figures["cifar_bd_rate_percent"]), flush=True)

    large: dict[str, Curve] = {"learned": []}
    start = time.perf_counter()
    for quality in PHOTO_QUALITIES:
        large["learned"].append(
            {"quality": quality, **photographs(photos, lambda image, q=quality: learned_photograph(coder, image, q))}
        )
    figures["kodak_encode_seconds"] = (time.perf_counter() - start) / len(PHOTO_QUALITIES) / len(photos)
    own = coder.of(quality=55)
    content, known = own.encode_known(block_of(photos[0][None]), 1)
    start = time.perf_counter()
    assert own.decode(content, 1, len(known)) == known
    figures["kodak_decode_seconds"] = time.perf_counter() - start
    figures["peak_memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    for name, points in contestants().items():
        large[name] = [photographs(photos, lambda image, s=settings: as_file(image, s)) for settings in points[:-1]]
    large["jpeg"] = best_of([large["jpeg_444"], large["jpeg_420"]])
    figures["kodak"] = large
    figures["kodak_bd_rate_percent"] = {
        name: rate_against(large["learned"], curve) for name, curve in large.items() if name != "learned"
    }
    figures["kodak_bd_rate_percent_by_ms_ssim"] = {
        name: rate_against(large["learned"], large[name], "ms_ssim")
        for name in large
        if name not in {"learned", "jpeg"}
    }
    print(rounded({key: value for key, value in figures.items() if key not in {"cifar", "kodak"}}))
    if not options.only:
        store("lossy_images", rounded(figures))
    if options.plot:
        draw(figures, options.plot)


def trained(images: Pixels, options: argparse.Namespace) -> tuple[Any, dict[str, int]]:
    """The coder, and for how many steps and seconds it was fitted, now or when its weights were written."""
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    from latentkit.tasks.compression import LossyNetwork, LossySizes, fit_lossy_coder

    course = {"steps": 0, "seconds": 0}
    if options.network and options.network.exists():
        with safe_open(options.network, "pt") as file:
            course = {key: int(value) for key, value in file.metadata().items()}
        network = LossyNetwork(LossySizes())
        network.load_state_dict(load_file(options.network))
        return fit_lossy_coder(images, network=network, n_steps=0), course
    start = time.perf_counter()

    def tell(step: int, objective: float) -> None:
        course["steps"] = step
        if step % 1000 == 0:
            print(f"step {step}: {objective:.4f}  ({time.perf_counter() - start:.0f} s)", flush=True)

    coder = fit_lossy_coder(images, max_seconds=options.seconds, n_steps=options.steps, report=tell)
    course["seconds"] = round(time.perf_counter() - start)
    if options.network:
        told = {key: str(value) for key, value in course.items()}
        save_file(coder.encoder.network.state_dict(), options.network, metadata=told)
    return coder, course


def zstd(content: bytes) -> int:
    """Size of content behind zstd at level 19, by whatever is installed; 0 where nothing is."""
    try:
        import pyarrow as pa

        return len(pa.Codec("zstd", compression_level=19).compress(content))
    except ImportError:
        return 0


if __name__ == "__main__":
    run()
