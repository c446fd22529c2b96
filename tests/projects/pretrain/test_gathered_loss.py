"""Two processes with half a batch each get the gradients of one process with the whole batch."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from clipapps.projects.pretrain.models import ContrastivePretrainer

# No batch norm: its statistics are those of one process.
ARCH = {"embed_dim": 8,
        "vision_cfg": {"layers": 1, "width": 16, "head_width": 8, "patch_size": 8, "image_size": 16},
        "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}}
CAPTIONS = ["a red star", "a cup", "a cup", "a blue boat"]
MEANING = torch.tensor([1, 2, 2, 3])


def _step(rows: slice) -> tuple[float, dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    model = ContrastivePretrainer({"type": "CLIPBackbone", "arch": ARCH})
    images = torch.randint(0, 255, (4, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    wrapped = torch.nn.parallel.DistributedDataParallel(model) if dist.is_initialized() else model
    loss = wrapped(images[rows], CAPTIONS[rows], MEANING[rows], mode="loss")["loss"]
    loss.backward()
    return loss.item(), {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def test_gathered_gradients_equal_those_of_the_whole_batch(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    subprocess.run([sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(port),
                    __file__, str(tmp_path)], check=True, timeout=200, env={**os.environ, "OMP_NUM_THREADS": "1"})
    loss, gradients = _step(slice(0, 4))
    for rank in range(2):
        their_loss, theirs = torch.load(tmp_path / f"{rank}.pth", weights_only=True)
        assert their_loss == pytest.approx(loss, rel=1e-5)
        assert theirs.keys() == gradients.keys()
        for name, gradient in gradients.items():
            torch.testing.assert_close(theirs[name], gradient, rtol=1e-4, atol=1e-6)


if __name__ == "__main__":  # what torchrun starts
    dist.init_process_group("gloo")
    number = dist.get_rank()
    torch.save(_step(slice(2 * number, 2 * number + 2)), Path(sys.argv[1]) / f"{number}.pth")
    dist.destroy_process_group()
