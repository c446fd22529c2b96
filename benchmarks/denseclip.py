"""Speed and memory of DenseCLIP segmentation: `python benchmarks/denseclip.py [speed] [classes] [pixels] [layout]`.

speed:   images/s and peak memory of evaluation (text embeddings cached, and computed for every image) and of training
         steps, batches 1 and 8, 512 x 512, RN50 and ViT-B/16.
classes: seconds and GMACs of one image against 16, 150, 1000 classes.
pixels:  seconds and memory of one image against 0.25 to 4 megapixels, whole.
layout:  contiguous against channels-last, float32 against bfloat16.

On every device that is there. Weights are random: they do not change the cost. Each figure is the median of runs after
one that is not counted; memory is what the process (CPU, in a process of its own) or the allocator (CUDA) held at most.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

CONFIGS = {"RN50": "denseclip_fpn_rn50_80k_ade20k_512", "ViT-B/16": "denseclip_fpn_vit_b16_80k_ade20k_640",
           "tiny-rn": "denseclip_fpn_tiny_toyworld"}
CLASSES = (16, 150, 1000)
SIDES = (512, 1024, 1536, 2048)  # 0.26, 1.05, 2.36, 4.19 megapixels


def build(name: str, device: str, classes: int = 150, **changes: Any) -> Any:
    from mmengine.registry import init_default_scope

    from clipapps.engine.config import load_config
    from clipapps.registry import MODELS

    init_default_scope("clipapps")
    torch.manual_seed(0)
    model = load_config(f"denseclip/{CONFIGS[name]}", ["model.backbone.weights=None"]).model
    model.update(class_names=[f"thing number {index}" for index in range(classes)], **changes)
    return MODELS.build(model).to(device)


def sample(batch: int, side: int, classes: int, device: str) -> tuple[torch.Tensor, list[Any]]:
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    images, samples = torch.randn(batch, 3, side, side, device=device), []
    for _ in range(batch):
        labels = PixelData(data=torch.randint(0, classes, (1, side, side), device=device))
        samples.append(SegDataSample(metainfo=dict(img_shape=(side, side), ori_shape=(side, side))))
        samples[-1].gt_sem_seg = labels
    return images, samples


def median_seconds(run: Callable[[], object], job: dict[str, Any]) -> float:
    seconds, clock = [], time.process_time if job["clock"] == "cpu" else time.perf_counter
    for _ in range(job["runs"] + 1):
        start = clock()
        run()
        if job["device"] == "cuda":
            torch.cuda.synchronize()
        seconds.append(clock() - start)
    return statistics.median(seconds[1:])


def measure(job: dict[str, Any]) -> tuple[float, float]:
    """Seconds of one pass over a batch, and GiB at most, of one job in this process."""
    device, side, batch = job["device"], job.get("side", 512), job.get("batch", 1)
    model = build(job["model"], device, job.get("classes", 150), channels_last=job.get("channels_last", False))
    images, samples = sample(batch, side, job.get("classes", 150), device)
    precision = torch.autocast(device, dtype=torch.bfloat16) if job.get("bfloat16") else nullcontext()

    def evaluate() -> None:
        if job["mode"] == "uncached":
            model._forget_text()
        with torch.inference_mode(), precision:
            memory_format = torch.channels_last if job.get("channels_last") else torch.contiguous_format
            model.encode_decode(images.contiguous(memory_format=memory_format), [dict(img_shape=images.shape[2:])])

    def train() -> None:
        with precision:
            loss = model.parse_losses(model(images, samples, mode="loss"))[0]
        loss.backward()
        model.zero_grad()

    model.train(job["mode"] == "train")
    seconds = median_seconds(train if job["mode"] == "train" else evaluate, job)
    if device == "cuda":
        return seconds, torch.cuda.max_memory_allocated() / 2**30
    return seconds, peak_gib()


def peak_gib() -> float:
    """Memory that this process held at most; `ru_maxrss` would begin with what its parent held."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 2**20


def run(**job: Any) -> tuple[float, float]:
    """`measure` in a fresh process, so that peak memory is the job's own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, (job,))


def speed(device: str, args: argparse.Namespace) -> None:
    print(f"\n{device}: 512 x 512, 150 classes")
    print(f"{'model':10} {'mode':>9} {'batch':>5} {'images/s':>9} {'ms/image':>9} {'peak GiB':>9}")
    for name in args.models:
        for mode in ("cached", "uncached", "train"):
            for batch in args.batches:
                seconds, memory = run(model=name, mode=mode, batch=batch, device=device, runs=args.runs,
                                      clock=args.clock)
                print(f"{name:10} {mode:>9} {batch:5} {batch / seconds:9.2f} {1000 * seconds / batch:9.1f} "
                      f"{memory:9.2f}", flush=True)


def classes(device: str, args: argparse.Namespace) -> None:
    from clipapps.projects.denseclip.complexity import measure as complexity

    print(f"\n{device}: one 512 x 512 image, cached text")
    print(f"{'model':10} {'classes':>7} {'ms/image':>9} {'GMACs':>8}  of them image tower, context decoder, head")
    for name in args.models:
        for count in CLASSES:
            seconds, _ = run(model=name, mode="cached", classes=count, device=device, runs=args.runs, clock=args.clock)
            macs = complexity(build(name, "cpu", count), (512, 512)).macs
            parts = ", ".join(f"{macs[part] / 1e9:.2f}" for part in ("backbone", "context decoder", "head"))
            print(f"{name:10} {count:7} {1000 * seconds:9.1f} {macs['total'] / 1e9:8.2f}  {parts}", flush=True)


def pixels(device: str, args: argparse.Namespace) -> None:
    print(f"\n{device}: one image, 150 classes, cached text")
    print(f"{'model':10} {'side':>5} {'megapixels':>10} {'ms/image':>9} {'ms/megapixel':>12} {'peak GiB':>9}")
    for name in args.models:
        for side in args.sides:
            seconds, memory = run(model=name, mode="cached", side=side, device=device, runs=args.runs, clock=args.clock)
            area = side * side / 1e6
            print(f"{name:10} {side:5} {area:10.2f} {1000 * seconds:9.1f} {1000 * seconds / area:12.1f} {memory:9.2f}",
                  flush=True)


def layout(device: str, args: argparse.Namespace) -> None:
    print(f"\n{device}: 512 x 512, 150 classes, evaluation of one image")
    print(f"{'model':10} {'layout':>14} {'precision':>9} {'ms/image':>9} {'peak GiB':>9}")
    for name in args.models:
        for channels_last in (False, True):
            for bfloat16 in (False, True):
                seconds, memory = run(model=name, mode="cached", device=device, runs=args.runs, clock=args.clock,
                                      bfloat16=bfloat16, channels_last=channels_last)
                print(f"{name:10} {'channels-last' if channels_last else 'contiguous':>14} "
                      f"{'bfloat16' if bfloat16 else 'float32':>9} {1000 * seconds:9.1f} {memory:9.2f}", flush=True)


TABLES = {"speed": speed, "classes": classes, "pixels": pixels, "layout": layout}


def main() -> None:
    """Print the tables named on the command line, all of them when none is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", metavar="TABLE")
    parser.add_argument("--models", nargs="+", default=["RN50", "ViT-B/16"], choices=list(CONFIGS))
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--sides", nargs="+", type=int, default=list(SIDES))
    parser.add_argument("--devices", nargs="+", default=["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall",
                        help="cpu: seconds of computing, for one thread on a machine that does other things as well")
    args = parser.parse_args()
    if unknown := set(args.tables) - set(TABLES):
        parser.error(f"there is no table {', '.join(unknown)}; choose of {', '.join(TABLES)}")
    threads = torch.get_num_threads()
    print(f"torch {torch.__version__}, {threads} threads, medians of {args.runs} runs, {args.clock} time")
    for device in args.devices:
        for table in args.tables or TABLES:
            TABLES[table](device, args)


if __name__ == "__main__":
    main()
