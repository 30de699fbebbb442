import heapq
import pickle
import random
from collections import Counter, deque, namedtuple
from pathlib import Path

Customer = namedtuple("Customer", "number arrival service")
CHECKPOINT = Path("checkpoint.pkl")


class Simulation:
    def __init__(self, counters, seed):
        self.rng = random.Random(seed)
        self.clock = 0.0
        self.free = counters
        self.waiting = deque()
        self.events = []
        self.waits = []
        self.served_by_hour = Counter()
        self.number = 0
        self._schedule("arrive", self.rng.expovariate(1 / 2.0))

    def _schedule(self, kind, delay, payload=None):
        heapq.heappush(self.events, (self.clock + delay, self.number, kind, payload))

    def step(self):
        self.clock, _, kind, payload = heapq.heappop(self.events)
        if kind == "arrive":
            self.number += 1
            self.waiting.append(Customer(self.number, self.clock, self.rng.uniform(1, 8)))
            self._schedule("arrive", self.rng.expovariate(1 / 2.0))
        else:
            self.free += 1
            self.served_by_hour[int(self.clock // 60)] += 1
        while self.free and self.waiting:
            c = self.waiting.popleft()
            self.free -= 1
            self.waits.append(self.clock - c.arrival)
            self._schedule("leave", c.service, c.number)

    def run_until(self, minute):
        while self.events[0][0] <= minute:
            self.step()


def main(counters=2, minutes=240, seed=5):
    sim = Simulation(counters, seed)
    sim.run_until(minutes / 2)
    CHECKPOINT.write_bytes(pickle.dumps(sim))

    sim.run_until(minutes)
    resumed = pickle.loads(CHECKPOINT.read_bytes())
    resumed.run_until(minutes)
    same = resumed.waits == sim.waits

    print(f"counters={counters} customers={sim.number} served={sum(sim.served_by_hour.values())}")
    print(f"average wait {sum(sim.waits) / len(sim.waits):.2f} min, longest {max(sim.waits):.2f} min, queue now {len(sim.waiting)}")
    for hour, n in sorted(sim.served_by_hour.items()):
        print(f"  hour {hour + 1}: {'👤' * (n // 3)} {n}")
    print("checkpoint gives the same run:", same)
    return sim


if __name__ == "__main__":
    for counters in (1, 2, 3):
        main(counters)
