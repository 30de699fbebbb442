"""A log that grows line by line, in a file and on its output."""
import logging
import sys
import time

logging.basicConfig(
    level=logging.INFO, handlers=[logging.FileHandler("app.log"), logging.StreamHandler(sys.stdout)]
)
for step in range(30):
    logging.info("step %d of 30: %s", step, "all is well " * 3)
    time.sleep(0.08)
