import configparser
import os
import sys
from types import SimpleNamespace


def load_config(profile):
    cfg = configparser.ConfigParser(interpolation=configparser.ExtendedInterpolation())
    cfg.read("base.ini")
    if not cfg.read(f"{profile}.ini"):
        print(f"no profile {profile}, using base settings", file=sys.stderr)
    for key, value in sorted(os.environ.items()):
        if key.startswith("MYAPP_"):
            _, section, option = key.lower().split("_", 2)
            if not cfg.has_section(section):
                cfg.add_section(section)
            cfg[section][option] = value
    return cfg


cfg = load_config(sys.argv[1] if len(sys.argv) > 1 else "dev")
for section in cfg.sections():
    print(f"[{section}]")
    for k, v in cfg.items(section):
        print(f"  {k} = {v!r}")

settings = SimpleNamespace(
    port=cfg.getint("server", "port"),
    workers=cfg.getint("server", "workers", fallback=1),
    dark=cfg.getboolean("features", "dark_mode", fallback=False),
)
print(settings)
