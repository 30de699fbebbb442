"""sqlite3 in a file."""
import sqlite3

with sqlite3.connect("work.db") as db:
    db.execute("create table t (n integer primary key, word text)")
    db.executemany("insert into t (word) values (?)", ((f"w{n % 31}",) for n in range(5000)))
    result = db.execute("select count(distinct word) from t").fetchone()[0]
