import multiprocessing
import queue


class Worker(multiprocessing.Process):
    def __init__(self, tasks, results):
        super().__init__(daemon=True)
        self.tasks = tasks
        self.results = results

    def run(self):
        while True:
            task = self.tasks.get()
            if task is None:
                break
            n, fn = task
            try:
                self.results.put((n, fn(n), None))
            except Exception as e:
                self.results.put((n, None, f"{type(e).__name__}: {e}"))


def collatz(n):
    if n <= 0:
        raise ValueError("n must be positive")
    steps = 0
    while n != 1:
        n = n // 2 if n % 2 == 0 else 3 * n + 1
        steps += 1
    return steps


if __name__ == "__main__":
    tasks, results = multiprocessing.Queue(), multiprocessing.Queue()
    workers = [Worker(tasks, results) for _ in range(2)]
    for w in workers:
        w.start()
    jobs = [27, 97, 871, 6171, 0, 1]
    for j in jobs:
        tasks.put((j, collatz))
    for _ in workers:
        tasks.put(None)

    done = sorted(results.get(timeout=5) for _ in jobs)
    for w in workers:
        w.join()
    for n, value, err in done:
        print(f"collatz({n}) = {value}" if err is None else f"collatz({n}) failed: {err}")
    try:
        results.get_nowait()
    except queue.Empty:
        print("all results collected, exit codes", [w.exitcode for w in workers])
