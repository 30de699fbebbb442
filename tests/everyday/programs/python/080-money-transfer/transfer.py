import sqlite3
from contextlib import closing, contextmanager


@contextmanager
def transaction(con):
    con.execute("BEGIN IMMEDIATE")
    try:
        yield con
    except BaseException as e:
        con.execute("ROLLBACK")
        print("  rolled back:", e)
        raise
    else:
        con.execute("COMMIT")
        print("  committed")


def transfer(con, src, dst, amount):
    print(f"{src} -> {dst}: {amount}")
    with transaction(con):
        con.execute("UPDATE account SET balance = balance - ? WHERE name = ?", (amount, src))
        cur = con.execute("UPDATE account SET balance = balance + ? WHERE name = ?", (amount, dst))
        if cur.rowcount != 1:
            raise LookupError(f"unknown account {dst}")


def balances(con):
    return dict(con.execute("SELECT name, balance FROM account ORDER BY name"))


with closing(sqlite3.connect(":memory:", isolation_level=None)) as con:
    con.execute("CREATE TABLE account (name TEXT PRIMARY KEY, balance INTEGER CHECK (balance >= 0))")
    con.executemany("INSERT INTO account VALUES (?, ?)", [("cash", 100), ("bank", 500), ("piggy", 0)])
    con.execute("CREATE TABLE log (msg TEXT)")
    con.execute("""CREATE TRIGGER audit AFTER UPDATE ON account BEGIN
        INSERT INTO log VALUES (new.name || ': ' || old.balance || ' -> ' || new.balance); END""")
    for args in [("bank", "cash", 200), ("cash", "piggy", 1000), ("bank", "moon", 50), ("cash", "piggy", 25)]:
        try:
            transfer(con, *args)
        except (sqlite3.IntegrityError, LookupError):
            pass
    print(balances(con))
    print("sum", sum(balances(con).values()))
    for (msg,) in con.execute("SELECT msg FROM log"):
        print(" ", msg)
