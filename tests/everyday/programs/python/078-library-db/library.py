import sqlite3
from datetime import date, timedelta

SCHEMA = """
CREATE TABLE books (id INTEGER PRIMARY KEY, title TEXT NOT NULL, copies INTEGER NOT NULL CHECK (copies >= 0));
CREATE TABLE members (id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL);
CREATE TABLE loans (
    book_id INTEGER REFERENCES books(id),
    member_id INTEGER REFERENCES members(id),
    due TEXT NOT NULL,
    returned TEXT,
    PRIMARY KEY (book_id, member_id)
);
"""


class Library:
    def __init__(self, path=":memory:"):
        self.db = sqlite3.connect(path)
        self.db.row_factory = sqlite3.Row
        self.db.execute("PRAGMA foreign_keys = ON")
        self.db.executescript("DROP TABLE IF EXISTS loans; DROP TABLE IF EXISTS books; DROP TABLE IF EXISTS members;")
        self.db.executescript(SCHEMA)

    def add_books(self, books):
        with self.db:
            self.db.executemany("INSERT INTO books (title, copies) VALUES (?, ?)", books)

    def add_member(self, name):
        with self.db:
            return self.db.execute("INSERT INTO members (name) VALUES (:name)", {"name": name}).lastrowid

    def lend(self, title, member_id, day):
        book = self.db.execute("SELECT * FROM books WHERE title LIKE ?", (f"%{title}%",)).fetchone()
        if book is None:
            raise LookupError(f"no book like {title!r}")
        with self.db:
            self.db.execute("UPDATE books SET copies = copies - 1 WHERE id = ?", (book["id"],))
            self.db.execute("INSERT INTO loans VALUES (?, ?, ?, NULL)", (book["id"], member_id, (day + timedelta(days=14)).isoformat()))

    def overdue(self, day):
        return self.db.execute(
            """SELECT m.name, b.title, l.due, julianday(?) - julianday(l.due) AS late
               FROM loans l JOIN books b ON b.id = l.book_id JOIN members m ON m.id = l.member_id
               WHERE l.returned IS NULL AND l.due < ? ORDER BY late DESC""",
            (day.isoformat(), day.isoformat()),
        ).fetchall()


def main():
    lib = Library("library.db")
    lib.add_books([("Baking Bread", 1), ("Night Sky Atlas", 2), ("Python by Hand", 3)])
    ida, jon = lib.add_member("Ida"), lib.add_member("Jon")
    lib.lend("bread", ida, date(2024, 1, 2))
    lib.lend("atlas", jon, date(2024, 1, 20))
    for attempt in [("bread", jon), ("atlas", 99), ("opera", ida)]:
        try:
            lib.lend(*attempt, date(2024, 1, 21))
        except (sqlite3.IntegrityError, LookupError) as e:
            print(f"{type(e).__name__}: {e}")
    try:
        lib.add_member("Ida")
    except sqlite3.IntegrityError as e:
        print("IntegrityError:", e)
    for row in lib.overdue(date(2024, 2, 10)):
        print(f"{row['name']} has {row['title']!r} due {row['due']}, {row['late']:.0f} days late")
    print([tuple(r) for r in lib.db.execute("SELECT title, copies FROM books")])
    lib.db.close()


if __name__ == "__main__":
    main()
