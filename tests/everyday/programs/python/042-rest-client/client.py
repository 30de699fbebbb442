import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import requests

TODOS = {1: {"id": 1, "title": "water plants", "done": False}}


class Api(BaseHTTPRequestHandler):
    def _send(self, code, body=None):
        data = json.dumps(body).encode() if body is not None else b""
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _id(self):
        return int(self.path.rsplit("/", 1)[1])

    def do_GET(self):
        if self.path == "/todos":
            return self._send(200, list(TODOS.values()))
        todo = TODOS.get(self._id())
        self._send(200, todo) if todo else self._send(404, {"error": "no such todo"})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        new = {"id": max(TODOS) + 1, "done": False, **body}
        TODOS[new["id"]] = new
        self._send(201, new)

    def do_DELETE(self):
        TODOS.pop(self._id(), None)
        self._send(204)

    def log_message(self, *args):
        pass


server = HTTPServer(("127.0.0.1", 0), Api)
threading.Thread(target=server.serve_forever, daemon=True).start()
base = f"http://127.0.0.1:{server.server_port}"

with requests.Session() as s:
    s.headers["Accept"] = "application/json"
    r = s.post(f"{base}/todos", json={"title": "buy milk"})
    print(r.status_code, r.json())
    r = s.get(f"{base}/todos")
    print(r.status_code, r.headers["Content-Type"], [t["title"] for t in r.json()])
    r = s.delete(f"{base}/todos/1")
    print(r.status_code, repr(r.text))
    r = s.get(f"{base}/todos/1")
    print(r.status_code, r.json()["error"])
    try:
        r.raise_for_status()
    except requests.HTTPError as e:
        print("HTTPError:", e.response.status_code)

server.shutdown()
