"""Graphs: the writers of exported networks, one file for each format.

Every graph keeps the contract of a Runtime: uint8 RGB (B, H, W, C) in, stride-8 logits out,
normalisation inside. Where an engine can, a graph takes any batch and any multiple of 32; the
others are written for one size, which their :class:`~topseg.bundle.bundle.Graph` declares. A writer
imports its converter only when it is called.
"""
