"""Speed and memory of enhancing photos: `python benchmarks/backlit.py [image] [photo] [equal] [flicker]`.

image:   seconds of one 512 x 512 image: the network as it is trained, and the tiles that photos go through; the floor
         is what the same arithmetic takes as plain matrix products.
photo:   seconds and peak memory of photos of 12 and 24 megapixels, from the JPEG file to the JPEG file.
equal:   largest difference between the light maps of tiles and of the whole photo.
flicker: change of a film's light where the picture stands still, each frame alone and averaged over time.

Weights are random unless named: they do not change the cost. Times are medians of runs after one that is not counted.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import machine, peak_mib, resident_mib, seconds

MACS_A_PIXEL = 277_632
GOAL_SECONDS, GOAL_MIB, GOAL_DIFFERENCE = 0.9, 1536, 1e-5
SIDES = {12: (3000, 4000), 24: (4000, 6000)}


def network() -> Any:
    from clipapps.projects.backlit.network import EnhancementNetwork

    torch.manual_seed(0)
    return EnhancementNetwork(start_bias=0.5).eval()


def median(run: Callable[[], object], args: argparse.Namespace) -> float:
    clock, found = time.process_time if args.clock == "cpu" else time.perf_counter, []
    for _ in range(args.runs + 1):
        start = clock()
        run()
        found.append(clock() - start)
    return statistics.median(found[1:])


def image(args: argparse.Namespace) -> bool:
    from clipapps.projects.backlit.tiling import tiled_light_map

    plain, fast = network(), network().to(memory_format=torch.channels_last)
    pixels, matrix, is_reached = torch.rand(1, 3, 512, 512), torch.rand(2048, 2048), True
    print(f"\n512 x 512, {args.clock} seconds  (goal: {GOAL_SECONDS} at 2 threads)")
    for threads in args.threads:
        torch.set_num_threads(threads)
        with torch.inference_mode():
            as_trained = median(lambda: plain(pixels), args)
            tiled = median(lambda: tiled_light_map(fast, pixels), args)
            product = median(lambda: matrix @ matrix, args)
            coarse = network().to(torch.bfloat16, memory_format=torch.channels_last)
            halved = median(lambda net=coarse: tiled_light_map(net, pixels), args)
            off = (tiled_light_map(coarse, pixels) - tiled_light_map(fast, pixels)).abs().max()
        floor = product / 2048**3 * MACS_A_PIXEL * 512**2
        is_reached &= threads != 2 or tiled <= GOAL_SECONDS
        print(f"{threads} threads: as trained {as_trained:.2f}, tiles {tiled:.2f}, floor {floor:.2f}; "
              f"bfloat16 {halved:.2f} (map off by {off:.4f})", flush=True)
    return is_reached


def photo(args: argparse.Namespace) -> bool:
    print(f"\nfrom file to file, wall seconds  (goal: {GOAL_MIB} MiB above the process at rest)")
    is_reached = True
    for megapixels in args.megapixels:
        for threads in args.threads[-1:]:
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                took, more = pool.apply(one_photo, (SIDES[megapixels], threads, args.weights))
            is_reached &= more <= GOAL_MIB
            print(f"{megapixels} megapixels, {threads} threads: {took:.0f} s, {more:.0f} MiB", flush=True)
    return is_reached


def one_photo(size: tuple[int, int], threads: int, weights: str | None) -> tuple[float, float]:
    """Seconds, and MiB above the process at rest, of one photo in this process."""
    from PIL import Image

    from clipapps.engine.checkpoint import save_weights
    from clipapps.projects.backlit.inferencer import BacklitInferencer

    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if weights is None:
            weights = str(folder / "random.safetensors")
            save_weights({f"network.{key}": value for key, value in network().state_dict().items()}, weights)
        rows = np.linspace(0, 200, size[0], dtype=np.uint8)[:, None, None]
        Image.fromarray(np.broadcast_to(rows, (*size, 3)) + np.random.default_rng(0).integers(
            0, 50, (*size, 3), np.uint8)).save(folder / "photo.jpg")
        inferencer = BacklitInferencer(weights)
        inferencer(np.zeros((64, 64, 3), np.uint8))
        before, took = resident_mib(), []
        peak = peak_mib(lambda: took.append(seconds(lambda: inferencer(folder / "photo.jpg").save(folder / "out"))))
    return took[0], peak - before


def equal(args: argparse.Namespace) -> bool:
    from clipapps.projects.backlit.models import load_network
    from clipapps.projects.backlit.tiling import tiled_light_map

    net, worst = network(), 0.0
    if args.weights:
        load_network(net, args.weights)
    print(f"\nlargest difference of tiles to the whole  (goal: {GOAL_DIFFERENCE})")
    for size, tile in (((700, 900), None), ((512, 777), 100), ((1000, 300), 256)):
        pixels = torch.rand(1, 3, *size)
        with torch.inference_mode():
            off = float((tiled_light_map(net, pixels, tile) - net(pixels)).abs().max())
        worst = max(worst, off)
        print(f"{size[0]} x {size[1]}, tiles of {tile or 'the usual size'}: {off:.1e}", flush=True)
    return worst <= GOAL_DIFFERENCE


def flicker(args: argparse.Namespace) -> bool:
    """A still toy-world scene with camera noise and an exposure that trembles."""
    from clipapps.projects.backlit.inferencer import BacklitInferencer
    from clipapps.projects.backlit.smoothing import LightSmoother
    from clipapps.projects.backlit.video import gray_of
    from clipapps.toyworld import render, sample_scene

    draw = np.random.default_rng(0)
    still = render(sample_scene(0, 0), 160).image / 255 * 0.4
    frames = [(np.clip(still * (1 + 0.03 * draw.standard_normal()) + 0.02 * draw.standard_normal(still.shape), 0, 1)
               * 255).astype(np.uint8) for _ in range(30)]
    with tempfile.TemporaryDirectory() as folder:
        weights = args.weights
        if weights is None:
            from clipapps.engine.checkpoint import save_weights

            weights = f"{folder}/random.safetensors"
            save_weights({f"network.{key}": value for key, value in network().state_dict().items()}, weights)
        inferencer, smoother = BacklitInferencer(weights), LightSmoother(0.5)
    maps = [inferencer.light_map(frame) for frame in frames]
    smooth = [smoother(light_map, gray_of(frame), index / 25)
              for index, (light_map, frame) in enumerate(zip(maps, frames, strict=True))]
    print("\nmean change of log gain from frame to frame, and spread of the mean log gain over time")
    for name, of in (("each frame alone", maps), ("averaged over 0.5 s", smooth)):
        logs = torch.stack(of).log()
        print(f"{name}: {float(logs.diff(dim=0).abs().mean()):.4f}, {float(logs.mean(dim=(1, 2)).std()):.4f}")
    return True


TABLES = {"image": image, "photo": photo, "equal": equal, "flicker": flicker}


def main() -> int:
    """Print the tables named on the command line, all of them when none is; 1 when a goal was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", metavar="TABLE")
    parser.add_argument("--weights", help="of an enhancement network (default: random)")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--megapixels", nargs="+", type=int, default=[12, 24], choices=list(SIDES))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall",
                        help="cpu: seconds of computing, all threads together, for a machine that does other things")
    args = parser.parse_args()
    if unknown := set(args.tables) - set(TABLES):
        parser.error(f"there is no table {', '.join(unknown)}; choose of {', '.join(TABLES)}")
    print(machine())
    reached = [TABLES[table](args) for table in args.tables or TABLES]
    return 0 if all(reached) else 1


if __name__ == "__main__":
    raise SystemExit(main())
