"""The page: its web sources, the list of its files, and the site that hands them out."""
