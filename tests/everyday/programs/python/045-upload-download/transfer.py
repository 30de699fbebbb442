import hashlib
import tempfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, HTTPServer
from pathlib import Path

import requests


class UploadHandler(SimpleHTTPRequestHandler):
    def do_PUT(self):
        length = int(self.headers["Content-Length"])
        Path(self.translate_path(self.path)).write_bytes(self.rfile.read(length))
        self.send_response(201)
        self.end_headers()

    def log_message(self, format, *args):
        pass


def sha256(path):
    h = hashlib.sha256()
    with open(path, "rb") as f:
        while chunk := f.read(4096):
            h.update(chunk)
    return h.hexdigest()


def main():
    with tempfile.TemporaryDirectory() as tmp:
        root = Path(tmp) / "www"
        root.mkdir()
        source = Path(tmp) / "data.bin"
        source.write_bytes(bytes(range(256)) * 200)

        httpd = HTTPServer(("127.0.0.1", 0), partial(UploadHandler, directory=str(root)))
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{httpd.server_port}/data.bin"

        with source.open("rb") as f:
            print("PUT ->", requests.put(url, data=f).status_code)

        received = 0
        with requests.get(url, stream=True) as r, open("downloaded.bin", "wb") as out:
            for chunk in r.iter_content(8192):
                out.write(chunk)
                received += len(chunk)
        print("GET ->", r.status_code, received, "bytes")

        a, b = sha256(source), sha256("downloaded.bin")
        print(a)
        print("checksums", "match ✔" if a == b else "DIFFER ✘")
        print("missing ->", requests.get(url + ".nope").status_code)
        httpd.shutdown()


main()
