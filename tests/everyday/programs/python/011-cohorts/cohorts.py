"""Cohort analysis: which share of users is still active N months after signing up?"""
import random
import pandas as pd

random.seed(2024)


def fake_events(n_users: int = 200) -> pd.DataFrame:
    rows = []
    for uid in range(n_users):
        start = random.randint(0, 5)
        for offset in range(0, 6 - start):
            if offset == 0 or random.random() < 0.8 ** offset:
                rows.append((uid, pd.Period("2024-01", "M") + start + offset))
    return pd.DataFrame(rows, columns=["user", "month"])


def retention(events: pd.DataFrame) -> pd.DataFrame:
    first = events.groupby("user")["month"].min().rename("cohort")
    ev = events.join(first, on="user")
    ev["age"] = (ev["month"] - ev["cohort"]).apply(lambda d: d.n)
    counts = ev.groupby(["cohort", "age"])["user"].nunique().unstack()
    return counts.div(counts[0], axis=0)


def main(users=200, digits=0):
    events = fake_events(users)
    table = retention(events)
    print(f"{len(events)} events of {users} users\n")
    print((table * 100).round(digits).fillna("").to_string())
    avg = table.mean()
    print("\nAverage:", " ".join(f"M{i}={v:.0%}" for i, v in avg.items()))
    return table


if __name__ == "__main__":
    main()
