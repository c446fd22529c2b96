"""Video recognition with implicit learnable alignment on a frozen CLIP (ILA, ICCV 2023, arXiv 2304.10465)."""

from clipapps.project import Project

PROJECT = Project(
    name="ila",
    package=__name__,
    summary="Video recognition: neighboring frames are aligned inside a frozen CLIP (ILA)",
    modules=tuple(f"{__name__}.{module}" for module in (
        "alignment", "integration", "prompts", "preprocessing", "models", "hooks", "metrics", "optimization")),
    config_keys=("data_root",),
    extra="ila",
)
