"""Threads: the executor of one machine, several images at a time.

Each image goes from file to mask on one thread with a predictor of its own. So any runtime will do,
whether or not it can be shared between threads, and no core waits for another: one image per core
is faster than all cores on one image.
"""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from topseg.inference.bulk.jobs import Job
from topseg.inference.bulk.manifest import Line, fingerprint
from topseg.inference.bulk.outputs import OutputSpec, predict_one
from topseg.inference.predictor import Predictor


class Threads:
    """A thread for each of some predictors of one model.

    Attributes:
        metadata: Of the model.
        fingerprint: Of the model.
    """

    def __init__(self, predictors: Sequence[Predictor]) -> None:
        """Take predictors: the model, once for every image that is to be worked on at a time."""
        self._predictors = predictors
        self.metadata = predictors[0].runtime.metadata
        self.fingerprint = fingerprint(predictors[0])

    def run(self, jobs: Sequence[Job], spec: OutputSpec) -> Iterator[Line]:
        """Do jobs, few ahead of what is asked for, and yield their lines in order."""
        idle: queue.SimpleQueue[Predictor] = queue.SimpleQueue()
        for predictor in self._predictors:
            idle.put(predictor)

        def act(job: Job) -> Line:
            predictor = idle.get()
            try:
                return predict_one(predictor, job, spec)
            finally:
                idle.put(predictor)

        pending: deque[Future[Line]] = deque()
        with ThreadPoolExecutor(len(self._predictors)) as pool:
            try:
                for job in jobs:
                    pending.append(pool.submit(act, job))
                    if len(pending) > 2 * len(self._predictors):
                        yield pending.popleft().result()
                while pending:
                    yield pending.popleft().result()
            finally:
                for future in pending:  # an error, or Ctrl-C: finish what is begun and no more
                    future.cancel()
