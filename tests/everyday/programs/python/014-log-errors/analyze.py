import sys
import pandas as pd

PATTERN = (
    r'^(?P<ip>\S+) \S+ \S+ \[(?P<time>[^\]]+)\] '
    r'"(?P<method>[A-Z]+) (?P<path>\S+) [^"]*" (?P<status>\d{3}) (?P<size>\S+)$'
)

lines = pd.Series(open(sys.argv[1]).read().splitlines())
log = lines.str.extract(PATTERN)
skipped = log["ip"].isna().sum()
log = log.dropna(subset=["ip"])
log["time"] = pd.to_datetime(log["time"], format="%d/%b/%Y:%H:%M:%S %z")
log["status"] = log["status"].astype(int)
log["size"] = pd.to_numeric(log["size"].replace("-", 0))
log["class"] = (log["status"] // 100).astype(str) + "xx"

if skipped:
    print(f"warning: {skipped} line(s) skipped", file=sys.stderr)

print(log["class"].value_counts().sort_index().to_string())
print()
errors = log[log.status >= 400]
rate = errors.groupby(errors.time.dt.floor("min")).size() / log.groupby(log.time.dt.floor("min")).size()
for minute, r in rate.items():
    print(f"{minute:%H:%M}  {r:6.1%}  {'#' * int(r * 20)}")
print("Bytes by client:")
print(log.groupby("ip")["size"].sum().sort_values(ascending=False).head(3).to_dict())
