import json
import sys
import pandas as pd

path = sys.argv[1] if len(sys.argv) > 1 else "response.json"
with open(path) as f:
    payload = json.load(f)

assert payload["status"] == "ok", "bad response"

users = pd.json_normalize(payload["items"], sep="_").drop(columns=["posts"])
print(users)
print(users.dtypes)

posts = pd.json_normalize(payload["items"], record_path="posts", meta=["id", ["user", "name"]])
print(posts)

tags = users.explode("tags")[["id", "tags"]].dropna()
print(tags.value_counts("tags").sort_index())

users.to_csv("flat.csv", index=False)
print(f"{len(users)} users, {len(posts)} posts, {int(posts.likes.sum())} likes")
