"""Bulk prediction: masks of files, folders, patterns and lists; sharded, restartable, on a cluster.

The way: jobs (what there is to do) -> manifest (what of it is done) -> an executor (threads
here, or a cluster) -> outputs (one image's files) -> a line in the manifest.
"""

from topseg.inference.bulk.jobs import Shard, parse_shard
from topseg.inference.bulk.run import Executor, Summary, predict_files
from topseg.inference.bulk.threads import Threads

__all__ = [
    "Executor",
    "Shard",
    "Summary",
    "Threads",
    "parse_shard",
    "predict_files",
]
