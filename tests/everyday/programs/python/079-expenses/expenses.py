import datetime as dt
import sqlite3
import sys

con = sqlite3.connect("expenses.sqlite")
con.execute("create table if not exists expense (day text, cents integer, category text, note text)")
con.create_function("euros", 1, lambda c: f"{c / 100:.2f}")


def add(day, amount, category, *note):
    dt.date.fromisoformat(day)
    cents = round(float(amount) * 100)
    con.execute("insert into expense values (?,?,?,?)", (day, cents, category, " ".join(note)))
    con.commit()
    print(f"added {category} {amount}")


def summary():
    sql = "select substr(day,1,7) m, category, euros(sum(cents)) from expense group by 1, 2 order by 1, 2"
    month = None
    for m, cat, total in con.execute(sql):
        if m != month:
            print(m)
            month = m
        print(f"   {cat:<8}{total:>10}")


def top(n):
    for row in con.execute("select day, euros(cents), note from expense order by cents desc, day limit ?", (int(n),)):
        print(*row, sep=" | ")


COMMANDS = {"add": add, "summary": summary, "top": top}
for number, line in enumerate(sys.stdin, 1):
    cmd, *args = line.split()
    if cmd == "quit":
        break
    try:
        COMMANDS[cmd](*args)
    except KeyError:
        print(f"line {number}: unknown command {cmd}")
    except (ValueError, TypeError) as e:
        print(f"line {number}: {e}")
con.close()
