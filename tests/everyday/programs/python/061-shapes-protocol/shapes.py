import math
from abc import ABC, abstractmethod
from typing import Iterable, Protocol, runtime_checkable


@runtime_checkable
class HasArea(Protocol):
    def area(self) -> float: ...


class Shape(ABC):
    registry: dict[str, type] = {}

    def __init_subclass__(cls, **kw):
        super().__init_subclass__(**kw)
        Shape.registry[cls.__name__.lower()] = cls

    @abstractmethod
    def area(self) -> float: ...

    @abstractmethod
    def perimeter(self) -> float: ...

    def __repr__(self):
        args = ", ".join(f"{k}={v}" for k, v in vars(self).items())
        return f"{type(self).__name__}({args})"


class Circle(Shape):
    def __init__(self, r):
        self.r = r

    def area(self):
        return math.pi * self.r ** 2

    def perimeter(self):
        return 2 * math.pi * self.r


class Rectangle(Shape):
    def __init__(self, w, h):
        self.w, self.h = w, h

    def area(self):
        return self.w * self.h

    def perimeter(self):
        return 2 * (self.w + self.h)


class Square(Rectangle):
    def __init__(self, side):
        super().__init__(side, side)


class Lake:  # not a Shape, but has an area
    def area(self):
        return 1234.5


def total_area(things: Iterable[HasArea]) -> float:
    return sum(t.area() for t in things)


shapes = [Circle(2), Rectangle(3, 4.5), Square(5)]
for s in sorted(shapes, key=lambda s: s.area()):
    print(f"{s!r:<24} area={s.area():7.2f} perimeter={s.perimeter():6.2f}")
print("registry:", sorted(Shape.registry))
print("total with lake: %.2f" % total_area([*shapes, Lake()]))
print(isinstance(Lake(), HasArea), isinstance(Lake(), Shape), isinstance("x", HasArea))
try:
    Shape()
except TypeError as e:
    print("TypeError:", str(e).split(" with")[0])
