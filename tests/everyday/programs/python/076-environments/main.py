import json
import os
import subprocess
import sys

DEFAULTS = {"APP_REGION": "us", "APP_DEBUG": "0", "APP_WORKERS": "2"}


def config():
    return {
        "region": os.environ.get("APP_REGION", DEFAULTS["APP_REGION"]),
        "debug": os.getenv("APP_DEBUG", "0").lower() in {"1", "true", "yes"},
        "workers": int(os.getenv("APP_WORKERS", DEFAULTS["APP_WORKERS"])),
    }


if "--child" in sys.argv:
    json.dump(config(), sys.stdout, sort_keys=True)
    sys.exit(0)

print("parent:", config())
for override in ({}, {"APP_REGION": "asia", "APP_WORKERS": "8"}, {"APP_DEBUG": "no"}):
    env = os.environ | override
    out = subprocess.run([sys.executable, __file__, "--child"], env=env, capture_output=True, text=True, check=True)
    print("child: ", json.loads(out.stdout), "with", override)

bad = subprocess.run([sys.executable, sys.argv[0], "--child"], env={**os.environ, "APP_WORKERS": "many"}, capture_output=True, text=True)
print("bad child exit:", bad.returncode, "|", bad.stderr.strip().splitlines()[-1])
print("all APP_ variables:", sorted(k for k in os.environ if k.startswith("APP_")))
