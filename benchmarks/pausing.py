"""A loop that belongs to somebody else, run one epoch at a time.

`fit` and Lightning's `Trainer.fit` return when training is over. To take turns with others, each runs
in a thread of its own, which its end-of-epoch callback puts to sleep until the next turn. Only one
thread is ever awake, so the CPU time of the process is the time of whoever has the turn.
"""

import threading
from collections.abc import Callable

__all__ = ["OneEpochAtATime"]


class OneEpochAtATime:
    """`run(pause)` must call `pause()` after every epoch, and return if that says True."""

    def __init__(self, run: Callable[[Callable[[], bool]], object]):
        self._run = run
        self._turn, self._done = threading.Semaphore(0), threading.Semaphore(0)
        self._stop = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def epoch(self) -> None:
        """Let one epoch pass."""
        self._turn.release()
        self._done.acquire()
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        self._stop = True
        self._turn.release()
        self._thread.join()

    def _pause(self) -> bool:
        self._done.release()
        self._turn.acquire()
        return self._stop

    def _work(self) -> None:
        self._turn.acquire()
        if self._stop:
            return
        try:
            self._run(self._pause)
        except BaseException as error:  # handed to whoever waits for the epoch
            self._error = error
        self._done.release()
