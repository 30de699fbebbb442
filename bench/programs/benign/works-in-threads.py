"""Threads that wait and are waited for."""
import concurrent.futures
import time


def wait(part):
    time.sleep(0.05)
    return part * part


with concurrent.futures.ThreadPoolExecutor(16) as pool:
    result = sum(pool.map(wait, range(100)))
