import heapq
import itertools
import logging
import threading
import time

logging.basicConfig(filename="scheduler.log", filemode="w", level=logging.DEBUG, format="%(levelname)s %(threadName)s %(message)s")


class Scheduler(threading.Thread):
    def __init__(self):
        super().__init__(name="scheduler")
        self._heap = []
        self._order = itertools.count()
        self._wake = threading.Event()
        self._stop_flag = False
        self._lock = threading.Lock()

    def at(self, delay, fn, *args):
        with self._lock:
            heapq.heappush(self._heap, (time.monotonic() + delay, next(self._order), fn, args))
        self._wake.set()

    def stop(self):
        self._stop_flag = True
        self._wake.set()

    def run(self):
        while not self._stop_flag or self._heap:
            self._wake.clear()
            with self._lock:
                job = self._heap[0] if self._heap else None
            if job is None:
                self._wake.wait(0.5)
                continue
            wait = job[0] - time.monotonic()
            if wait > 0:
                self._wake.wait(wait)
                continue
            with self._lock:
                _, _, fn, args = heapq.heappop(self._heap)
            try:
                fn(*args)
            except Exception:
                logging.error("job %s failed", fn.__name__)
            else:
                logging.info("ran %s", fn.__name__)


def greet(name):
    print("hello", name, flush=True)


def explode():
    print("about to fail")
    raise RuntimeError("boom")


s = Scheduler()
s.start()
s.at(0.30, greet, "third")
s.at(0.10, greet, "first")
s.at(0.20, explode)
timer = threading.Timer(0.4, s.stop)
timer.start()
timer.join()
s.join(2)
print("alive:", s.is_alive())
print(open("scheduler.log").read(), end="")
