from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from functools import wraps
from typing import Generic, ParamSpec, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
T = TypeVar("T")
P = ParamSpec("P")


class LRUCache(Generic[K, V]):
    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._data: OrderedDict[K, V] = OrderedDict()
        self.hits = self.misses = 0

    def get(self, key: K, default: V | None = None) -> V | None:
        if key in self._data:
            self.hits += 1
            self._data.move_to_end(key)
            return self._data[key]
        self.misses += 1
        return default

    def put(self, key: K, value: V) -> None:
        self._data[key] = value
        self._data.move_to_end(key)
        if len(self._data) > self.capacity:
            old, _ = self._data.popitem(last=False)
            print("evicted", old)

    def __contains__(self, key: object) -> bool:
        return key in self._data


class Stack(Generic[T]):
    def __init__(self, *items: T) -> None:
        self._items: list[T] = list(items)

    def push(self, item: T) -> "Stack[T]":
        self._items.append(item)
        return self

    def pop(self) -> T:
        return self._items.pop()

    def __iter__(self) -> Iterator[T]:
        while self._items:
            yield self.pop()

    def __bool__(self) -> bool:
        return bool(self._items)


def memo(cache: LRUCache[tuple, T]) -> Callable[[Callable[P, T]], Callable[P, T]]:
    def deco(fn: Callable[P, T]) -> Callable[P, T]:
        @wraps(fn)
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
            if args in cache:
                return cache.get(args)  # type: ignore
            value = fn(*args, **kwargs)
            cache.put(args, value)
            return value
        return wrapper
    return deco


cache: LRUCache[tuple, int] = LRUCache(3)


@memo(cache)
def slow_square(n: int) -> int:
    """Square, slowly."""
    return n * n


print([slow_square(n) for n in (1, 2, 3, 1, 4, 2)])
print("hits", cache.hits, "name", slow_square.__name__, "doc", slow_square.__doc__)
stack = Stack[str]("a").push("b").push("c")
print("".join(stack), bool(stack))
