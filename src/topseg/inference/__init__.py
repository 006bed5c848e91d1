"""Inference: from MODEL and an image, a folder, a video or a huge raster to masks."""
