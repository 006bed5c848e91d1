"""Media: files to pixels and back: images, videos, rasters; pictures of masks."""
