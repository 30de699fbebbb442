import time
import zlib
from concurrent.futures import ThreadPoolExecutor, as_completed

URLS = [f"https://files.example/part{i}.bin" for i in range(1, 9)]


def download(url: str) -> tuple[str, int]:
    seed = zlib.crc32(url.encode())
    time.sleep(seed % 50 / 1000)
    if "part5" in url:
        raise IOError("404 for " + url.rsplit("/", 1)[1])
    return url, seed % 10_000


results, errors = {}, []
with ThreadPoolExecutor(max_workers=4) as ex:
    futures = {ex.submit(download, u): u for u in URLS}
    for fut in as_completed(futures):
        try:
            url, size = fut.result()
            results[url] = size
        except IOError as e:
            errors.append((futures[fut], str(e)))

for url in sorted(results):
    print(f"{url:<36}{results[url]:>6} bytes")
print(f"ok: {len(results)}  failed: {len(errors)}")
for url, e in errors:
    print("FAILED", url, "-", e)
