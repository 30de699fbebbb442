import random
import sqlite3

random.seed(31)
players = ["zoe", "max", "ivy", "leo", "una"]

con = sqlite3.connect(":memory:")
con.execute("CREATE TABLE score(player TEXT, round INT, points INT)")
con.executemany(
    "INSERT INTO score VALUES(?,?,?)",
    [(p, r, random.randint(0, 20)) for r in range(1, 5) for p in players],
)

query = """
WITH totals AS (
    SELECT player, round, points,
           SUM(points) OVER (PARTITION BY player ORDER BY round) AS running
    FROM score
)
SELECT round, player, points, running,
       RANK() OVER (PARTITION BY round ORDER BY running DESC) AS place,
       running - LAG(running, 1, 0) OVER (PARTITION BY player ORDER BY round) AS gained
FROM totals
ORDER BY round, place, player
"""

print("round player pts total place")
for rnd, player, pts, running, place, gained in con.execute(query):
    assert pts == gained
    medal = {1: "🥇", 2: "🥈", 3: "🥉"}.get(place, "  ")
    print(f"{rnd:>5} {player:<6} {pts:>3} {running:>5} {place:>3} {medal}")

winner, = con.execute("SELECT player FROM score GROUP BY player ORDER BY SUM(points) DESC, player LIMIT 1").fetchone()
print("winner:", winner)
