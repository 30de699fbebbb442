import threading
from collections import deque


class BoundedBuffer:
    def __init__(self, size):
        self.size = size
        self.items = deque()
        self.cond = threading.Condition()
        self.closed = False
        self.max_seen = 0

    def put(self, item):
        with self.cond:
            self.cond.wait_for(lambda: len(self.items) < self.size)
            self.items.append(item)
            self.max_seen = max(self.max_seen, len(self.items))
            self.cond.notify_all()

    def get(self):
        with self.cond:
            self.cond.wait_for(lambda: self.items or self.closed)
            if not self.items:
                return None
            item = self.items.popleft()
            self.cond.notify_all()
            return item

    def close(self):
        with self.cond:
            self.closed = True
            self.cond.notify_all()


buf = BoundedBuffer(3)
collected = []
lock = threading.Lock()


def produce(start, stop):
    for i in range(start, stop):
        buf.put(i)


def consume():
    while (item := buf.get()) is not None:
        with lock:
            collected.append(item)


producers = [threading.Thread(target=produce, args=(i * 100, i * 100 + 50), name=f"p{i}") for i in range(3)]
consumers = [threading.Thread(target=consume) for _ in range(2)]
for t in producers + consumers:
    t.start()
for t in producers:
    t.join()
buf.close()
for t in consumers:
    t.join()

result = set(collected)
print("collected", len(collected), "distinct", len(result))
print("sum", sum(result), "min", min(result), "max", max(result))
print("buffer never over limit:", buf.max_seen <= 3)
