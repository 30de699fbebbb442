from importlib import import_module

available = ("plain", "markdown")


def get_formatter(name):
    if name not in available:
        raise ValueError(f"unknown format {name!r}, choose from {', '.join(available)}")
    return import_module(f".{name}", __package__).render
