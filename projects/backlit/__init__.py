"""Backlit photographs: CLIP-LIT (arXiv 2303.17569), CLIP-LIT-Latent and RAVE (arXiv 2404.01889)."""

from clipapps.project import PredictOption, Project

PROJECT = Project(
    name="backlit",
    package=__name__,
    summary="Enhancement of backlit photographs, guided by CLIP without pairs (CLIP-LIT, RAVE)",
    inferencer=f"{__name__}.inferencer:BacklitInferencer",
    predict_options=(
        PredictOption("strength", "0 leaves a photo as it is, 1 is the default, 2 the boldest", float, "S"),
        PredictOption("max_gain", "brighten by this factor at most; noise grows with it", float, "G"),
        PredictOption("protect_highlights", "cut no color off at white"),
        PredictOption("never_darken", "only brighten"),
        PredictOption("map_side", "compute the light on a copy of N pixels on the short side: fast and not exact "
                      "(default: 288 for videos; 0: the picture itself, as for photos)", int, "N"),
        PredictOption("smoothing", "seconds that a video's light is averaged over (default 0.5; 0: each frame alone)",
                      float, "T"),
    ),
    weights={"paired_free_photos": "assets/paired_free_photos.safetensors"},  # see MODEL_CARD.md
    converter=f"{__name__}.convert:convert_checkpoint",
    demo=f"{__name__}.demo:build_tab",
    extra="backlit",
    modules=tuple(f"{__name__}.{module}" for module in (
        "network", "guidance", "models", "datasets", "metrics", "schedule", "loop", "pictures", "paired")),
)
