"""gRPC: the calls of the Open Inference Protocol and their messages."""
