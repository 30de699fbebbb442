import logging
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import requests

logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s:%(name)s:%(message)s")
logging.getLogger("urllib3").setLevel(logging.WARNING)
log = logging.getLogger("retry")


class FlakyHandler(BaseHTTPRequestHandler):
    calls = 0

    def do_GET(self):
        FlakyHandler.calls += 1
        ok = self.path == "/flaky" and FlakyHandler.calls >= 4
        body = b"finally!" if ok else b"busy"
        self.send_response(200 if ok else 503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, fmt, *args):
        return


def get_with_retry(url, attempts=5, base_delay=0.02):
    for attempt in range(1, attempts + 1):
        response = requests.get(url, timeout=2)
        if response.status_code != 503:
            return response
        delay = base_delay * 2 ** (attempt - 1)
        log.info("attempt %d got %d, sleeping %.2fs", attempt, response.status_code, delay)
        time.sleep(delay)
    raise RuntimeError(f"gave up after {attempts} attempts")


def main():
    server = ThreadingHTTPServer(("localhost", 0), FlakyHandler)
    Thread(target=server.serve_forever, daemon=True).start()
    url = "http://localhost:%d" % server.server_address[1]
    try:
        r = get_with_retry(url + "/flaky")
        print("Got:", r.text, "after", FlakyHandler.calls, "calls")
        get_with_retry(url + "/down", attempts=3)
    except RuntimeError as exc:
        print("Failed:", exc)
    finally:
        server.shutdown()


if __name__ == "__main__":
    main()
