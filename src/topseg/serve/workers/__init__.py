"""Workers: the processes that run the network, and the queue before them."""
