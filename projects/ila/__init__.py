"""Video recognition with implicit learnable alignment on a frozen CLIP (ILA, ICCV 2023, arXiv 2304.10465)."""

from clipapps.project import PredictOption, Project, comma_separated

PROJECT = Project(
    name="ila",
    package=__name__,
    summary="Video recognition: neighboring frames are aligned inside a frozen CLIP (ILA)",
    modules=tuple(f"{__name__}.{module}" for module in (
        "alignment", "integration", "prompts", "preprocessing", "models", "hooks", "metrics", "optimization",
        "sampling", "transforms", "blending")),
    config_keys=("data_root",),
    inferencer=f"{__name__}.inferencer:ILAInferencer",
    predict_options=(
        PredictOption("classes", "class names, separated by commas", comma_separated, "NAMES"),
        PredictOption("window", "seconds that are judged at once (10); longer videos get a timeline", float, "S"),
        PredictOption("top", "how many classes are told (5)", int, "K"),
        PredictOption("arch", "CLIP used without --weights, for example ViT-B-32-quickgelu", str, "ARCH"),
        PredictOption("clip_weights", "its weights, for example openai (with --arch)", str, "W"),
    ),
    converter=f"{__name__}.convert:convert_checkpoint",
    weights={"ila_tiny_toyworld": "assets/ila_tiny_toyworld.safetensors"},  # see MODEL_CARD.md
    demo=f"{__name__}.demo:build_tab",
    extra="ila",
)
