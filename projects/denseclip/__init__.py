"""DenseCLIP: language-guided dense prediction with context-aware prompting (CVPR 2022, arXiv 2112.01518)."""

from clipapps.project import PredictOption, Project, comma_separated

PROJECT = Project(
    name="denseclip",
    package=__name__,
    summary="Language-guided semantic segmentation with context-aware prompting (DenseCLIP)",
    modules=tuple(f"{__name__}.{module}" for module in (
        "models", "controls", "maskclip", "imagenet_backbone", "official", "context_decoder", "pyramid",
        "preprocessing", "datasets", "hooks", "metrics", "schedules", "views", *(f"detection.{part}" for part in (
            "models", "anchors", "box_coder", "box_guidance", "matching", "metrics", "preprocessing", "retina_head",
            "suppression", "transforms")))),
    config_keys=("data_root",),  # of every dataset in the config; one override moves them all
    inferencer=f"{__name__}.inference:open_inferencer",
    predict_options=(PredictOption("classes", "class names, separated by commas", comma_separated, "NAMES"),),
    weights={name: f"assets/{name}.safetensors" for name in (
        "denseclip_fpn_tiny_toyworld", "denseclip_mask_rcnn_tiny_toyworld")},
    converter=f"{__name__}.convert:convert_checkpoint",
    exporter=f"{__name__}.export:make_exportable",
    demo=f"{__name__}.demo:build_tab",
    extra="seg",
)
