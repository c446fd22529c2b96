"""Detection and instance segmentation: RetinaNet and Mask R-CNN on torchvision's operations (DenseCLIP, 4.2)."""
