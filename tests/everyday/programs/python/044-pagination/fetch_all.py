import json
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from urllib.parse import parse_qs, urlparse

import requests

ITEMS = [{"id": i, "name": f"item-{i:02d}", "price": (i * 37) % 100} for i in range(1, 24)]


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        q = parse_qs(urlparse(self.path).query)
        page = int(q.get("page", ["1"])[0])
        size = int(q.get("size", ["5"])[0])
        chunk = ITEMS[(page - 1) * size: page * size]
        more = page * size < len(ITEMS)
        payload = json.dumps({"items": chunk, "next": page + 1 if more else None}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *a): ...


@contextmanager
def running_server():
    with HTTPServer(("127.0.0.1", 0), Handler) as httpd:
        t = Thread(target=httpd.serve_forever)
        t.start()
        try:
            yield f"http://127.0.0.1:{httpd.server_port}/items"
        finally:
            httpd.shutdown()
            t.join()


def iter_items(url, size=10):
    page = 1
    while page:
        data = requests.get(url, params={"page": page, "size": size}).json()
        print(f"page {page}: {len(data['items'])} items")
        yield from data["items"]
        page = data["next"]


with running_server() as url:
    items = list(iter_items(url))

print("total", len(items), "sum of prices", sum(i["price"] for i in items))
with open("items.json", "w") as f:
    json.dump(items, f, indent=1)
