"""Answers as HTML that follows the page's theme and needs no further question to the server: layers, strips, tables.

Every text is escaped, and every picture is part of the answer (a data URI), so that nothing is fetched.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from PIL import Image

from clipapps.visualization.masks import resize_mask

LONGEST_SIDE = 960  # of a picture inside an answer
_PLOT = (52, 8, 300, 146)  # left, top, width, height inside of 360 x 180
#: color and dashes of each line, which can be told apart without its color
_INKS = (("#6366f1", ""), ("#f97316", "6 3"), ("#0ea5e9", "2 3"), ("#16a34a", "8 3 2 3"), ("#db2777", "12 4"),
         ("#a16207", "1 3"), ("#64748b", "4 4"), ("#7c3aed", "10 2 2 2"))

CSS = """
.view { display: flex; flex-direction: column; gap: 12px; margin: 0; }
.view .stage { position: relative; width: fit-content; max-width: 100%; margin: 0 auto; line-height: 0;
  border-radius: 8px; overflow: hidden; }
.view .stage > img:first-child { display: block; max-width: 100%; width: auto; max-height: 460px; min-height: 220px;
  margin: 0; border-radius: 0; }
.view .stage .layer, .view .stage svg { position: absolute; inset: 0; width: 100%; height: 100%; margin: 0; }
.view .stage .layer { opacity: var(--opacity, .6); image-rendering: pixelated; }
.view .stage [hidden] { display: none; }
.view label.opacity { display: flex; align-items: center; gap: 12px; font-size: .85rem; }
.view input[type=range] { flex: 1; accent-color: var(--accent); height: 24px; min-width: 0; }
.view .legend { display: flex; flex-wrap: wrap; gap: 8px; }
.view .legend button { display: inline-flex; align-items: center; gap: 8px; min-height: 36px; padding: 4px 12px;
  font-size: .85rem; border: 1px solid var(--border-color-primary); border-radius: 999px; background:
  var(--background-fill-primary); color: var(--body-text-color); cursor: pointer; overflow-wrap: anywhere;
  text-align: left; }
.view .legend button[aria-pressed=true] { border-color: var(--accent-text); box-shadow: inset 0 0 0 1px
  var(--accent-text); }
.view .legend i, .view .key i { flex: none; width: 12px; height: 12px; border-radius: 3px; }
.view .legend small, .view .key { color: var(--body-text-color-subdued); font-size: .8rem; }
.view .strip { display: grid; grid-template-columns: repeat(4, 1fr); gap: 10px; margin: 0; padding: 0; list-style:
  none; }
.view .strip li { margin: 0; position: relative; }
.view .strip div { position: relative; line-height: 0; }
.view .strip img { width: 100%; border-radius: 6px; margin: 0; }
.view .strip svg { position: absolute; inset: 0; width: 100%; height: 100%; }
.view .strip small { display: block; text-align: center; margin-top: 4px; color: var(--body-text-color-subdued);
  font-size: .75rem; font-variant-numeric: tabular-nums; }
.view .key { display: flex; flex-wrap: wrap; gap: 4px 16px; }
.view .key span { display: inline-flex; gap: 6px; align-items: center; }
.view .key i { border-radius: 50%; border: 3px solid; background: none; }
.view .curve { width: 100%; max-width: 480px; height: auto; margin: 0 auto; font-size: 11px;
  fill: var(--body-text-color-subdued); }
.view .curve path { fill: none; stroke: var(--border-color-primary); }
.view .scroll { overflow-x: auto; }
.view table { border: 0; border-collapse: separate; border-spacing: 3px; width: 100%; font-size: .85rem;
  font-variant-numeric: tabular-nums; margin: 0; }
.view th { font-weight: 500; text-align: left; padding: 4px 8px; border: 0; background: none; color:
  var(--body-text-color); min-width: 56px; max-width: 11rem; overflow-wrap: break-word; }
.view thead th { text-align: center; color: var(--body-text-color-subdued); font-size: .8rem; }
.view td { position: relative; text-align: center; padding: 8px 6px 12px; border: 0; border-radius: 6px; color:
  var(--body-text-color); background: var(--background-fill-secondary); min-width: 48px; }
.view td::after { content: ""; position: absolute; left: 5px; bottom: 5px; height: 4px; border-radius: 2px;
  background: var(--accent); width: calc((100% - 10px) * var(--share)); }
.view td.best { font-weight: 700; }
.view th img { max-width: none; width: 44px; height: 44px; object-fit: cover; border-radius: 6px; margin: 0;
  display: inline-block; vertical-align: middle; }
"""

# Delegated to the component's own element, which stays when its value is replaced.
LAYERS_JS = """
element.addEventListener('input', event => {
  if (event.target.type === 'range') element.style.setProperty('--opacity', event.target.value);
});
element.addEventListener('click', event => {
  const button = event.target.closest('.legend button');
  if (!button) return;
  const alone = button.getAttribute('aria-pressed') !== 'true';
  element.querySelectorAll('.legend button').forEach(other =>
    other.setAttribute('aria-pressed', alone && other === button));
  element.querySelectorAll('[data-layer]:not(button)').forEach(part =>
    part.toggleAttribute('hidden', alone && part.dataset.layer !== button.dataset.layer));
});
"""


@dataclass(frozen=True)
class Layer:
    """One class over a picture.

    Args:
        name: as the legend says it; note: what stands behind the name, for example its share.
        color: RGB.
        mask: (H, W) bool, or None.
        boxes: (left, top, right, bottom, words) in pixels.
    """

    name: str
    color: tuple[int, int, int]
    note: str = ""
    mask: np.ndarray | None = None
    boxes: Sequence[tuple[float, float, float, float, str]] = ()


def layers(image: np.ndarray, found: Sequence[Layer], empty: str = "Nothing was found.") -> str:
    """A picture under layers of one color each, their opacity on a slider, and a legend to see each one alone.

    Args:
        image: (H, W, 3) uint8 RGB.
        found: in the legend's order.
        empty: said instead of the legend when there is nothing.
    """
    height, width = image.shape[:2]
    scale = min(1.0, LONGEST_SIDE / max(height, width))
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    parts = [f'<img src="{picture_uri(image)}" alt="The picture">']
    for number, layer in enumerate(found):
        if layer.mask is not None:
            parts.append(f'<img class="layer" data-layer="{number}" alt="" src="{_mask_uri(layer, size)}">')
    parts += [_boxes(number, layer, (height, width)) for number, layer in enumerate(found) if len(layer.boxes)]
    legend = "".join(
        f'<button type="button" data-layer="{number}" aria-pressed="false"><i style="background:{_css(layer.color)}">'
        f"</i>{escape(layer.name)} <small>{escape(layer.note)}</small></button>" for number, layer in enumerate(found))
    opacity = ('<label class="opacity">Opacity <input type="range" min="0" max="1" step="0.05" value="0.6"></label>'
               if any(layer.mask is not None for layer in found) else "")
    below = (f'{opacity}<div class="legend" role="group" aria-label="Classes; press one to see it alone">{legend}</div>'
             if found else f"<p>{escape(empty)}</p>")
    return f'<div class="view"><div class="stage">{"".join(parts)}</div>{below}</div>'


def film_strip(frames: np.ndarray, times: Sequence[float], points: np.ndarray | None = None) -> str:
    """Frames with their seconds and, where a model has them, rings around its interactive points.

    Args:
        frames: (T, S, S, 3) uint8 RGB. times: seconds of each.
        points: (T - 1, 4) in -1..1: x and y in a frame of what it shares with the next, and in the next one.
    """
    items = []
    for index, (frame, time) in enumerate(zip(frames, times, strict=True)):
        rings = []
        if points is not None and index < len(points):
            rings.append(_ring(points[index, :2], 9, "#f97316", ""))
        if points is not None and index > 0:
            rings.append(_ring(points[index - 1, 2:], 6, "#0ea5e9", 'stroke-dasharray="4 2.5"'))
        drawn = f'<svg viewBox="0 0 100 100" aria-hidden="true">{"".join(rings)}</svg>' if rings else ""
        items.append(f'<li><div><img alt="Frame at {time:.1f} s" src="{picture_uri(frame)}">{drawn}</div>'
                     f"<small>{time:.1f} s</small></li>")
    key = ('<p class="key"><span><i style="color:#f97316"></i>shared with the next frame</span><span>'
           '<i style="color:#0ea5e9;border-style:dashed"></i>shared with the frame before</span></p>'
           if points is not None else "")
    return f'<div class="view"><ol class="strip">{"".join(items)}</ol>{key}</div>'


def curves(title: str, lines: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> str:
    """Lines over the steps of a training, each with its name and its newest value.

    Args:
        lines: name -> (steps, values); the first eight are drawn.
    """
    shown = list(lines.items())[:len(_INKS)]
    every_step = [step for _, (steps, _) in shown for step in steps]
    every_value = [value for _, (_, values) in shown for value in values if math.isfinite(value)]
    first, last, low, high = min(every_step), max(every_step), min(every_value, default=0), max(every_value, default=1)
    left, top, width, height = _PLOT
    drawn, key = [], []
    for (name, (steps, values)), (ink, dashes) in zip(shown, _INKS, strict=False):
        places = [(left + width * _share(step, first, last), top + height * (1 - _share(value, low, high)))
                  for step, value in zip(steps, values, strict=True) if math.isfinite(value)]
        drawn.append(f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in places)}" fill="none" stroke="{ink}" '
                     f'stroke-width="2" stroke-dasharray="{dashes}" stroke-linejoin="round"/>')
        drawn += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{ink}"/>' for x, y in places[-1:]]
        key.append(f'<span><i style="color:{ink}"></i>{escape(name)} {values[-1]:.4g}</span>')
    right, bottom = left + width, top + height
    texts = ((left - 6, top + 8, "end", f"{high:.3g}"), (left - 6, bottom, "end", f"{low:.3g}"),
             (left, bottom + 16, "start", f"{first:g}"), (right, bottom + 16, "end", f"step {last:g}"))
    words = "".join(f'<text x="{x}" y="{y}" text-anchor="{anchor}">{text}</text>' for x, y, anchor, text in texts)
    return (f'<div class="view"><svg class="curve" viewBox="0 0 360 180" role="img" '
            f'aria-label="{escape(title)} over the steps"><path d="M{left} {top}v{height}h{width}"/>'
            f'{"".join(drawn)}{words}</svg><p class="key">{"".join(key)}</p></div>')


def heat_table(rows: Sequence[tuple[str, Sequence[float]]], columns: Sequence[str], *,
               pictures: Sequence[np.ndarray] = (), low: float = 0.0, percent: bool = False) -> str:
    """Numbers with a bar each; the largest of a column is bold.

    Args:
        rows: (name, numbers); columns: names.
        pictures: (H, W, 3) uint8 RGB, shown instead of the first names of the rows and of the columns.
        low: the number whose bar has no length; 1 fills the cell.
        percent: shares of 1 as whole percents.
    """
    thumbs = [f'<img alt="{escape(rows[number][0])}" src="{picture_uri(image, 88)}">'
              for number, image in enumerate(pictures)]
    heads = [*thumbs, *(escape(name) for name in columns[len(thumbs):])]
    best = [max((row[number] for _, row in rows), default=0.0) for number in range(len(columns))]
    lines = []
    for place, (name, row) in enumerate(rows):
        cells = "".join(
            f'<td{" class=best" if value == best[number] and len(rows) > 1 else ""} '
            f'style="--share:{min(1.0, max(0.0, (value - low) / (1 - low))):.3f}">'
            f"{f'{100 * value:.0f} %' if percent else f'{value:.2f}'}</td>" for number, value in enumerate(row))
        lines.append(f'<tr><th scope="row">{thumbs[place] if place < len(thumbs) else escape(name)}</th>{cells}</tr>')
    head = "".join(f'<th scope="col">{words}</th>' for words in heads)
    return (f'<div class="view"><div class="scroll"><table><thead><tr><th></th>{head}</tr></thead>'
            f'<tbody>{"".join(lines)}</tbody></table></div></div>')


def picture_uri(image: np.ndarray, longest: int = LONGEST_SIDE) -> str:
    """(H, W, 3) uint8 RGB as a WebP data URI of at most this side."""
    picture, buffer = Image.fromarray(np.ascontiguousarray(image)), io.BytesIO()
    picture.thumbnail((longest, longest))
    picture.save(buffer, format="WEBP", quality=90)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def _mask_uri(layer: Layer, size: tuple[int, int]) -> str:
    """A PNG of one color, transparent outside of the layer's mask."""
    assert layer.mask is not None
    picture, buffer = Image.fromarray(resize_mask(layer.mask.astype(np.uint8), size).astype(np.uint8)), io.BytesIO()
    picture.putpalette([0, 0, 0, *layer.color])
    picture.save(buffer, format="PNG", transparency=0, bits=1)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _boxes(number: int, layer: Layer, size: tuple[int, int]) -> str:
    height, width = size
    line = max(height, width) / 240
    ink, drawn = _css(layer.color), []
    for left, top, right, bottom, words in layer.boxes:
        drawn.append(
            f'<rect x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{bottom - top:.1f}" fill="none" '
            f'stroke="{ink}" stroke-width="{line:.2f}"/><text x="{left + line:.1f}" y="{top + 7 * line:.1f}" '
            f'font-size="{7 * line:.1f}" fill="#fff" stroke="#000" stroke-width="{line / 2:.2f}" paint-order="stroke">'
            f"{escape(words)}</text>")
    return f'<svg data-layer="{number}" viewBox="0 0 {width} {height}" aria-hidden="true">{"".join(drawn)}</svg>'


def _ring(point: np.ndarray, radius: float, color: str, extra: str) -> str:
    x, y = ((float(value) + 1) * 50 for value in point)
    shape = f'cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="none"'
    return (f'<circle {shape} stroke="#fff" stroke-width="4.5"/>'
            f'<circle {shape} stroke="{color}" stroke-width="3" {extra}/>')


def _share(value: float, low: float, high: float) -> float:
    return 0.5 if high <= low else (value - low) / (high - low)


def _css(color: Sequence[int]) -> str:
    return "#" + "".join(f"{int(value):02x}" for value in color)
