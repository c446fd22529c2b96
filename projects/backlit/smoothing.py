"""Light maps of a video that do not flicker: averaged over time where the picture stands still.

A map computed for every frame alone follows the noise, the compression and the exposure of each frame, and its division
makes that visible. Here the map's level, its mean logarithm, is averaged over a while, and so is what each pixel has
beyond it. Where the picture changes, a pixel gives way to the frame's own map, so that nothing leaves a trail;
at a cut all begins anew.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

#: gray value, 0..1, at whose change the average has lost 63 % of its say; above noise, below what is seen as motion
_CHANGE = 0.04
#: part of its neighbors' change that counts for a cell: edges of what moves, which cover little of it, leave no trail
_SPREAD = 0.3
#: mean change of the whole picture that counts as a cut
_CUT = 0.15
_CELL = 8  # changes are looked for in means over cells of so many pixels, in which noise has gone
_LEAST = 1e-3  # of a map, for logarithms
_STILL = 0.01  # change of a cell that counts as none in the figures


class LightSmoother:
    """Averages the light maps of frames that follow each other.

    Attributes:
        flicker: mean change of log gain from a frame to the next where the picture stood still, 0.01 being one percent
            of brightness: of the maps that came in, and of those that went out.
        cuts: how many there were.

    Args:
        seconds: time constant of the average; 0 hands every map through.

    >>> smoother = LightSmoother(seconds=0.5)
    >>> frame, maps = torch.full((16, 16), 0.5), (torch.full((16, 16), 0.4), torch.full((16, 16), 0.5))
    >>> [round(float(smoother(light_map, frame, time)[0, 0]), 2) for light_map, time in zip(maps, (0.0, 0.04))]
    [0.4, 0.41]
    """

    def __init__(self, seconds: float) -> None:
        self.seconds, self.cuts = seconds, 0
        self._map: Tensor | None = None
        self._gray, self._level, self._time = torch.empty(0), 0.0, 0.0
        self._last: tuple[Tensor, Tensor, Tensor] | None = None
        self._sums, self._count = [0.0, 0.0], 0

    @property
    def flicker(self) -> tuple[float, float]:
        """See above; zeros where nothing stood still."""
        return self._sums[0] / max(self._count, 1), self._sums[1] / max(self._count, 1)

    def __call__(self, light_map: Tensor, frame: Tensor, time: float) -> Tensor:
        """The map (H, W) to divide a frame by.

        Args:
            light_map: of this frame alone, (H, W).
            frame: its gray values (H, W), 0..1.
            time: in seconds; later than the one before.
        """
        gray = F.avg_pool2d(frame[None, None], _CELL, ceil_mode=True, count_include_pad=False)
        level = float(light_map.clamp(min=_LEAST).log().mean())
        relative = light_map * math.exp(-level)
        if self._map is not None:
            change = (gray - self._gray).abs()
            if float(change.mean()) > _CUT:
                self.cuts, self._map, self._last = self.cuts + 1, None, None
            else:
                share = math.exp(-(time - self._time) / self.seconds) if self.seconds else 0.0
                near = F.max_pool2d(change, 3, stride=1, padding=1)
                shares = share * torch.exp(-((torch.maximum(change, _SPREAD * near) / _CHANGE) ** 2))
                gray = gray.lerp(self._gray, shares)
                wide = F.interpolate(shares, size=light_map.shape, mode="bilinear")[0, 0]
                relative, level = relative.lerp(self._map, wide), level + share * (self._level - level)
        smooth = relative * math.exp(level)
        self._note(light_map, smooth, frame)
        self._map, self._gray, self._level, self._time = relative, gray, level, time
        return smooth

    def _note(self, own: Tensor, smooth: Tensor, frame: Tensor) -> None:
        """Add this frame to the figures."""
        cells = [F.avg_pool2d(values[None, None], _CELL, ceil_mode=True, count_include_pad=False)
                 for values in (frame, own.clamp(min=_LEAST).log(), smooth.clamp(min=_LEAST).log())]
        if self._last is not None:
            still = (cells[0] - self._last[0]).abs() < _STILL
            if still.any():
                for index in (0, 1):
                    self._sums[index] += float((cells[index + 1] - self._last[index + 1]).abs()[still].mean())
                self._count += 1
        self._last = (cells[0], cells[1], cells[2])
