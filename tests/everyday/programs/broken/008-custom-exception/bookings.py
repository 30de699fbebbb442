import asyncio
from dataclasses import dataclass


class BookingError(Exception):
    """Raised when a booking cannot be made."""

    def __init__(self, room, reason):
        super().__init__(f"room {room}: {reason}")
        self.room = room


@dataclass
class Booking:
    room: int
    start: int
    end: int


def check(existing, new):
    for b in existing:
        if b.room == new.room and b.start < new.end and new.start < b.end:
            raise ValueError(f"{new.start}-{new.end} overlaps {b.start}-{b.end}")


async def book(existing, room, start, end):
    await asyncio.sleep(0.01)
    new = Booking(room, start, end)
    try:
        check(existing, new)
    except ValueError as e:
        # tell the caller which room it was
        raise BookingError(room, str(e)) from e
    existing.append(new)
    print(f"booked room {room} from {start} to {end}")


async def main():
    bookings = []
    await book(bookings, 12, 9, 11)
    await book(bookings, 14, 9, 11)
    await book(bookings, 12, 10, 12)
    print("all done")


asyncio.run(main())
