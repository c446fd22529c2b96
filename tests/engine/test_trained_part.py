"""A small file of what was trained on a frozen CLIP gives the whole model back, and no other CLIP is taken for it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from clipapps.clip import CLIPBackbone
from clipapps.engine import checkpoint
from clipapps.engine.trained_part import save_trained_part
from clipapps.errors import WeightsError


class Probe(nn.Module):
    """A head on the built-in CLIP."""

    def __init__(self, arch: str = "tiny-rn", weights: str | None = "builtin") -> None:
        super().__init__()
        self.clip = CLIPBackbone(arch, weights, trainable="none")
        self.head = nn.Linear(self.clip.embed_dim, 3)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, 3)."""
        return self.head(self.clip(images).pooled)


@pytest.fixture(scope="module")
def trained() -> Probe:
    torch.manual_seed(0)
    model = Probe()
    model.clip.init_weights()
    model.train()(torch.rand(4, 3, 64, 64))  # batch norm's running statistics move, even in a frozen CLIP
    with torch.no_grad():
        model.clip.model.visual.layer1[0].conv1.weight[0] += 1.0
    return model.eval()


def test_the_file_holds_what_differs_and_gives_the_model_back(trained, tmp_path) -> None:
    names = save_trained_part(trained, tmp_path / "small.safetensors", dict(config="probe"))
    assert {"head.weight", "head.bias", "clip.model.visual.layer1.0.conv1.weight",
            "clip.model.visual.bn1.running_mean"} <= set(names)
    assert "clip.model.visual.layer2.0.conv1.weight" not in names
    assert not any("transformer" in name or name.endswith("num_batches_tracked") for name in names)
    assert (tmp_path / "small.safetensors").stat().st_size < 200_000
    assert checkpoint.read_metadata(tmp_path / "small.safetensors")["config"] == "probe"
    again = Probe().eval()
    checkpoint.load_weights(again, tmp_path / "small.safetensors")
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.allclose(again(images), trained(images), atol=2e-2, rtol=1e-2)
    for name, value in trained.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            wanted = value.half().float() if name in names else value
            assert torch.equal(again.state_dict()[name], wanted), name


@pytest.mark.parametrize(("arch", "weights", "words"), [
    ("tiny-vit", "builtin", "another CLIP"), ("tiny-rn", None, "random weights")])
def test_another_clip_is_refused(trained, tmp_path, arch, weights, words) -> None:
    save_trained_part(trained, tmp_path / "small.safetensors")
    with pytest.raises(WeightsError, match=words):
        checkpoint.load_weights(Probe(arch, weights), tmp_path / "small.safetensors")


def test_what_fp16_cannot_hold_is_refused(trained, tmp_path) -> None:
    model = Probe()
    model.head.weight.data[0, 0] = 1e6
    with pytest.raises(WeightsError, match=r"do not fit fp16: head\.weight"):
        save_trained_part(model, tmp_path / "small.safetensors")
    assert not (tmp_path / "small.safetensors").exists()
