"""One training step of each phase of CLIP-LIT, CLIP-LIT-Latent and RAVE, and enhancement at test time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from mmengine.model import BaseModel
from torch import Tensor

from clipapps.clip import CLIPBackbone
from clipapps.engine import checkpoint
from clipapps.errors import ConfigError
from clipapps.projects.backlit.convert import convert_network
from clipapps.projects.backlit.guidance import Guidance, LearnedPair, build_guidance
from clipapps.projects.backlit.losses import identity_loss, luma_psnr
from clipapps.projects.backlit.network import EnhancementNetwork, enhance, training_layout
from clipapps.projects.backlit.towers import GuidanceTowers
from clipapps.registry import MODELS

PHASES = ("initialize", "reconstruct", "enhance", "refine")


@MODELS.register_module()
class BacklitEnhancer(BaseModel):
    """The enhancement network and its guidance; the CLIP towers work behind it and are not saved with it.

    The losses of a step follow the phase (names and numbers of CLIP-LIT's section 3, RAVE's section 3):

    - "initialize": cross-entropy of the learned pair;
    - "reconstruct": `identity_weight` * identity loss with `reconstruction_stages`;
    - "enhance": `guidance_boost` * `guidance_weight` * guidance loss
      + `identity_balance` * `identity_weight` * identity loss with `guided_stages`;
    - "refine": `rank_weight` * rank loss.

    Args:
        guidance: a Guidance or its config: PromptPair (CLIP-LIT), LatentPair, or ResidualDirection (RAVE).
        clip: the CLIP that guides; identity_clip: the one of the identity loss, None for the same.
        network: an EnhancementNetwork or its config; network_weights: a file to start it from, see `load_network`.
        train_padding, test_padding: of the network; the published runs trained with "zeros" and tested with "reflect".
        antialias: of the resize in front of the towers.
        clamp_gradient: of overexposed values while training, see `network.enhance`; the published runs had "none".
        guidance_weight, guidance_boost, identity_weight, identity_balance, rank_weight: factors, as above.
        reconstruction_stages, guided_stages: factors of the identity tower's levels, the stem first.
        identity_reduction: "sum" or "mean" over the images, see `losses.identity_loss`.
        margins: of the rank loss with 2, 3, 4, ... groups.

    Raises:
        ConfigError: a phase that the guidance does not have, or stage weights that do not fit the identity tower.

    >>> from clipapps.projects.backlit.guidance import LatentPair
    >>> clip = dict(type=CLIPBackbone, arch="tiny-rn", with_text=False)
    >>> model = BacklitEnhancer(guidance=dict(type=LatentPair), clip=clip)
    >>> images = torch.randint(0, 255, (2, 3, 64, 64), dtype=torch.uint8)
    >>> sorted(model(images, mode="loss", phase="enhance"))
    ['guidance', 'identity', 'loss', 'objective']
    """

    def __init__(
        self,
        guidance: Guidance | dict[str, Any],
        clip: CLIPBackbone | dict[str, Any],
        identity_clip: CLIPBackbone | dict[str, Any] | None = None,
        network: EnhancementNetwork | dict[str, Any] | None = None,
        *,
        network_weights: str | None = None,
        train_padding: str = "reflect",
        test_padding: str = "reflect",
        antialias: bool = True,
        clamp_gradient: str = "inward",
        guidance_weight: float = 320.0,
        guidance_boost: float = 1.0,
        identity_weight: float = 25.0,
        identity_balance: float = 0.9,
        rank_weight: float = 200.0,
        reconstruction_stages: Sequence[float] = (1, 1, 1, 1, 1),
        guided_stages: Sequence[float] = (1, 1, 1, 1, 0.5),
        identity_reduction: str = "mean",
        margins: Sequence[tuple[float, float]] = ((1.0, 0.2), (0.9, 0.2), (0.9, 0.1)),
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        network = {"type": EnhancementNetwork} if network is None else network
        self.network: EnhancementNetwork = MODELS.build(network) if isinstance(network, dict) else network
        self._towers = (GuidanceTowers(clip, identity_clip, antialias),)  # a tuple hides them from torch
        self.guidance = build_guidance(guidance, self.towers.clip)
        self.network_weights = network_weights
        self.train_padding, self.test_padding, self.clamp_gradient = train_padding, test_padding, clamp_gradient
        self.guidance_weight, self.guidance_boost = guidance_weight, guidance_boost
        self.identity_weight, self.identity_balance = identity_weight, identity_balance
        self.rank_weight, self.margins = rank_weight, [tuple(pair) for pair in margins]
        self.reconstruction_stages, self.guided_stages = tuple(reconstruction_stages), tuple(guided_stages)
        self.identity_reduction = identity_reduction

    @property
    def towers(self) -> GuidanceTowers:
        """The frozen CLIP towers."""
        return self._towers[0]

    @property
    def has_network_weights(self) -> bool:
        """Whether the network starts from weights instead of from random ones."""
        return self.network_weights is not None

    def init_weights(self) -> None:
        """New network weights, CLIP's weights, and the start of the guidance."""
        self.towers.init_weights()
        self.network.reset_parameters()
        if self.network_weights is not None:
            load_network(self.network, self.network_weights)
        self.guidance.init_weights()
        self._is_init = True

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Moves the towers along with the module."""
        self.towers.apply_(fn)
        return super()._apply(fn, recurse)

    def forward(self, inputs: Tensor, mode: str = "tensor", phase: str = "enhance", label: Tensor | None = None,
                **sample: Any) -> Any:
        """Enhanced photos, the losses of a phase, or predictions.

        Args:
            inputs: (B, 3, H, W) uint8 RGB, or floats in 0..1; for "refine" (B, G, 3, H, W), groups of one sample from
                the backlit input to the well-lit reference.
            mode: "tensor" -> (enhanced (B, 3, H, W), light maps (B, 1, H, W)); "loss" -> dict; "predict" -> list of
                dicts for `metrics.BacklitQuality`.
            phase: one of `PHASES`, for "loss". label: (B,) 0 backlit, 1 well-lit, for "initialize".
        """
        images = inputs.float() / 255 if not inputs.is_floating_point() else inputs
        if mode == "tensor":
            return self.enhance(images, self.test_padding)
        if mode == "predict":
            return self.predict(images, **sample)
        if phase == "initialize":
            return self.initialization_losses(images, label)
        if phase == "refine":
            return self.refinement_losses(images)
        return self.network_losses(images, is_guided=phase == "enhance")

    def enhance(self, images: Tensor, padding: str) -> tuple[Tensor, Tensor]:
        """Photos (B, 3, H, W) in 0..1 -> enhanced ones and their light maps (B, 1, H, W)."""
        self.network.padding_mode = padding
        light_map = self.network(images)
        return enhance(images, light_map, self.clamp_gradient), light_map

    def network_losses(self, images: Tensor, *, is_guided: bool) -> dict[str, Tensor]:
        """Losses of the network: reconstruction, or guided.

        Returns:
            "loss", what is stepped; "identity" (weighted by `identity_weight`); reconstruction: "psnr" in dB;
            guided: "guidance" (weighted by `guidance_weight`), and "objective", which the phase's end is judged by.
        """
        images = images.contiguous(memory_format=training_layout(images.device))
        enhanced, _ = self.enhance(images, self.train_padding)
        with torch.no_grad():
            original = self.towers.levels(images)
        stages = self.guided_stages if is_guided else self.reconstruction_stages
        if not is_guided:
            identity = self.identity_weight * identity_loss(self.towers.levels(enhanced), original, stages,
                                                            self.identity_reduction)
            return dict(loss=identity, identity=identity.detach(), psnr=luma_psnr(enhanced.detach(), images))
        embeds, levels = self.towers.embed_and_levels(enhanced)
        identity = self.identity_weight * identity_loss(levels, original, stages, self.identity_reduction)
        guidance = self.guidance_weight * self.guidance.loss(embeds)
        loss = self.guidance_boost * guidance + self.identity_balance * identity
        return dict(loss=loss, guidance=guidance.detach(), identity=identity.detach(),
                    objective=(guidance + self.identity_balance * identity).detach())

    def initialization_losses(self, images: Tensor, label: Tensor | None) -> dict[str, Tensor]:
        """Cross-entropy of the learned pair on labeled images, and the share it tells right."""
        if label is None:
            raise ConfigError("The phase 'initialize' needs labels.")
        pair = self._learned()
        with torch.no_grad():
            embeds = self.towers.embed(images)
        loss = pair.initialization_loss(embeds, label)
        return dict(loss=loss)

    def refinement_losses(self, images: Tensor) -> dict[str, Tensor]:
        """Rank loss over groups of images (B, G, 3, H, W)."""
        pair, groups = self._learned(), images.shape[1]
        with torch.no_grad():
            embeds = self.towers.embed(images.flatten(0, 1)).unflatten(0, (-1, groups))
        if not 2 <= groups <= len(self.margins) + 1:
            raise ConfigError(f"There are margins for 2 to {len(self.margins) + 1} groups, not for {groups}.")
        margins = self.margins[groups - 2]
        loss = self.rank_weight * pair.ranking_loss(list(embeds.unbind(dim=1)), (margins[0], margins[1]))
        return dict(loss=loss)

    def _learned(self) -> LearnedPair:
        if not isinstance(self.guidance, LearnedPair):
            raise ConfigError(f"{type(self.guidance).__name__} is not learned; its phases are 'reconstruct' and "
                              "'enhance'.")
        return self.guidance

    def predict(self, images: Tensor, **sample: Any) -> list[dict[str, Any]]:
        """See `predictions`."""
        enhanced, light_maps = self.enhance(images, self.test_padding)
        return predictions(images, enhanced, light_maps, **sample)


def predictions(images: Tensor, enhanced: Tensor, light_maps: Tensor, sample_idx: Tensor,
                target: Tensor | None = None, **_: Any) -> list[dict[str, Any]]:
    """For `metrics.BacklitQuality` and pictures.

    Args:
        images, enhanced: (B, 3, H, W) in 0..1. light_maps: (B, 1, H, W).
        sample_idx: (B,). target: (B, 3, H, W) uint8.

    Returns:
        one dict per photo: "inputs", "enhanced" and "target" (3, H, W) uint8, "light_map" (1, H, W), "sample_idx".
    """
    enhanced = to_bytes(enhanced)
    return [dict(sample_idx=int(sample_idx[i]), enhanced=enhanced[i], light_map=light_maps[i],
                 inputs=to_bytes(images[i]), **({} if target is None else dict(target=target[i])))
            for i in range(len(images))]


def load_network(network: EnhancementNetwork, path: str | Path) -> None:
    """Put weights into a network: of a training run here (`best.safetensors`, a checkpoint), or converted ones.

    Raises:
        WeightsError: the file cannot be read or holds no enhancement network.
    """
    state = checkpoint.state_dict_of(checkpoint.load(path), str(path))
    inside = {name.removeprefix("network."): value for name, value in state.items() if name.startswith("network.")}
    checkpoint.load_weights(network, path, content=inside or convert_network(state))


def to_bytes(images: Tensor) -> Tensor:
    """0..1 -> uint8, rounded half up."""
    return (images * 255 + 0.5).floor().clamp(0, 255).to(torch.uint8)
