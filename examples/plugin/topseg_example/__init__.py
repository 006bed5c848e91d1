"""One plug-in of each kind for topseg: a network, a loss, a transform, a layout and a runtime."""
