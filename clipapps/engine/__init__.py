"""Configs, training, evaluation, checkpoints: a thin layer over mmengine's Runner.

    config.load_config(name_or_path, overrides)   a checked mmengine Config
    runner.train(cfg, ...), runner.test(cfg, ...)  flat dict of metrics, written as metrics.json
    checkpoint.load / save / load_weights         the only reader and writer of checkpoints

Nothing is imported here, so that `clipapps list configs` stays fast; `clipapps.engine.runner` registers the classes.
"""
