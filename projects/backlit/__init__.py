"""Backlit photographs: CLIP-LIT (arXiv 2303.17569), CLIP-LIT-Latent and RAVE (arXiv 2404.01889)."""

from clipapps.project import Project

PROJECT = Project(
    name="backlit",
    package=__name__,
    summary="Enhancement of backlit photographs, guided by CLIP without pairs (CLIP-LIT, RAVE)",
    inferencer=f"{__name__}.inferencer:BacklitInferencer",
    converter=f"{__name__}.convert:convert_checkpoint",
    extra="backlit",
    modules=tuple(f"{__name__}.{module}" for module in (
        "network", "guidance", "models", "datasets", "metrics", "schedule", "loop", "pictures")),
)
