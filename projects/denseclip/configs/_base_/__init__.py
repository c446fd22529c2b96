"""Parts that several configs share: data sets with their pipelines, and the parts of the segmentors."""
