"""Parts that several configs share: data sets, schedules, and the parts of the models."""
