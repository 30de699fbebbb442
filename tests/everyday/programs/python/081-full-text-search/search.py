import sqlite3
import sys

RECIPES = [
    ("Focaccia", "Flat bread with olive oil, rosemary and plenty of yeast"),
    ("Tomato soup", "Slow cooked tomatoes with basil and a slice of bread"),
    ("Pizza dough", "Flour, water, salt and yeast, rest over night"),
    ("Fruit salad", "Apples, pears and a squeeze of lemon"),
]


def has_fts5(con):
    try:
        con.execute("CREATE VIRTUAL TABLE temp.probe USING fts5(x)")
        return True
    except sqlite3.OperationalError:
        return False


def main(query="bread"):
    con = sqlite3.connect(":memory:")
    if not has_fts5(con):
        print("FTS5 is not available", file=sys.stderr)
        return 2
    con.execute("CREATE VIRTUAL TABLE recipes USING fts5(title, body, tokenize='porter')")
    con.executemany("INSERT INTO recipes VALUES (?, ?)", RECIPES)
    rows = con.execute(
        "SELECT title, snippet(recipes, 1, '[', ']', '...', 6) FROM recipes WHERE recipes MATCH ? ORDER BY title",
        (query,),
    ).fetchall()
    print(f"{len(rows)} hits for {query!r}")
    for title, snip in rows:
        print(f"* {title}: {snip}")
    return 0 if rows else 1


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
