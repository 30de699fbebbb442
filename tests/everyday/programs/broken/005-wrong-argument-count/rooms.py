class Room:
    def __init__(self, name, width, length, height):
        self.name = name
        self.width = width
        self.length = length
        self.height = height

    def volume(self):
        return self.width * self.length * self.height

    def __str__(self):
        return f"{self.name}: {self.volume():.1f} m3"


def load_rooms(rows):
    rooms = []
    for row in rows:
        rooms.append(Room(*row))
    return rooms


rows = [
    ("kitchen", 3.2, 4.0, 2.5),
    ("hall", 1.5, 5.0),
    ("bedroom", 4.0, 4.1, 2.5),
]
for room in load_rooms(rows):
    print(room)
