"""Rich output of a job: forms of its result, figures, image files."""

import binascii
import os
import sys

ITEMS_MAX = 64
TEXT_CHARS_MAX = 262_144
ALL_CHARS_MAX = 1_048_576
METHODS = (
    ("_repr_html_", "text/html"),
    ("_repr_markdown_", "text/markdown"),
    ("_repr_latex_", "text/latex"),
    ("_repr_svg_", "image/svg+xml"),
    ("_repr_png_", "image/png"),
    ("_repr_jpeg_", "image/jpeg"),
)
SUFFIXES = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/gif": "gif",
    "image/webp": "webp",
    "application/pdf": "pdf",
    "image/svg+xml": "svg",
    "text/html": "html",
    "text/markdown": "md",
    "text/latex": "tex",
}
BASE64_TYPES = ("image/png", "image/jpeg", "image/gif", "image/webp", "application/pdf")
IMAGES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".svg": "image/svg+xml",
}
PYPLOT = "matplotlib.pyplot"
_letters = frozenset("abcdefghijklmnopqrstuvwxyz0123456789.+-")


class Display:
    """`add(path, data)` creates an artifact if there is room; `say(head, text)` reports an item."""

    def __init__(self, gathering, work, say):
        self.gathering = gathering
        self.work = work
        self.say = say
        self.items = 0
        self.chars = 0
        self.numbers = 0
        self.told = set()
        self.open_figures = []

    def value(self, value):
        """Shows all representations that its class defines. Re-raises only exceptions that end the job."""
        if isinstance(value, type):
            return
        if self.figure_of(value):
            return
        for name, kind in METHODS:
            form = _called(value, name)
            if form is not None:
                self.form(kind, form)
        bundle = _called(value, "_repr_mimebundle_")
        if type(bundle) is dict:
            known = {kind for name, kind in METHODS if hasattr(type(value), name)}
            for kind in list(bundle)[:ITEMS_MAX]:
                if kind not in known and kind != "text/plain":
                    self.form(kind, bundle[kind])

    def form(self, kind, form):
        if isinstance(form, tuple) and len(form) == 2:
            form = form[0]
        if not _is_type(kind):
            return self.leave("display", "its type is no MIME type")
        if isinstance(form, (dict, list)) and kind.endswith("json"):
            form = _json(form)
        if isinstance(form, str) and kind in BASE64_TYPES:
            form = _decoded(form)
        if isinstance(form, (bytes, bytearray)):
            return self.data(kind, bytes(form))
        if isinstance(form, str):
            return self.text(kind, str.__str__(form))
        return None

    def text(self, kind, text):
        """A text that is too long for the outcome is an artifact."""
        if len(text) > TEXT_CHARS_MAX or self.chars + len(text) > ALL_CHARS_MAX:
            return self.data(kind, text.encode("utf-8", "replace"))
        if self.has_room(kind):
            self.chars += len(text)
            self.say({"type": kind}, text)
        return None

    def data(self, kind, data):
        if not self.has_room(kind):
            return
        path = self.free_name(SUFFIXES.get(kind, "bin"))
        if self.gathering.add(path, data):
            self.told.add(path)
            self.say({"type": kind, "path": path}, "")
        else:
            self.items -= 1
            self.leave(path, self.gathering.reason_of(len(data)))

    def images(self):
        """Shows image files that were not reported when they were created."""
        for path in self.gathering.given:
            kind = IMAGES.get(os.path.splitext(path)[1].lower())
            if kind and path not in self.told and self.has_room(kind):
                self.say({"type": kind, "path": path}, "")

    def has_room(self, kind):
        if self.items >= ITEMS_MAX:
            if self.items == ITEMS_MAX:
                self.leave(f"display ({kind})", f"there are more than {ITEMS_MAX}")
            self.items = ITEMS_MAX + 1
            return False
        self.items += 1
        return True

    def leave(self, what, because):
        self.gathering.leave(what, because)

    def free_name(self, suffix):
        while True:
            self.numbers += 1
            name = f"display-{self.numbers}.{suffix}"
            taken = (os.path.join(self.work, folder, name) for folder in ("", "out"))
            if name not in self.gathering.given and not any(os.path.lexists(path) for path in taken):
                return name

    def figure_of(self, value):
        """Shows a matplotlib figure, which has no representation methods; returns True if it is one."""
        figures = sys.modules.get("matplotlib.figure")
        try:
            is_figure = figures is not None and isinstance(value, figures.Figure)
        except TypeError:
            return False
        if is_figure:
            self.figure(value)
        return is_figure

    def figure(self, figure):
        if self.items >= ITEMS_MAX:
            self.has_room("image/png")
            return
        import io

        data = io.BytesIO()
        figure.savefig(data, format="png")
        self.data("image/png", data.getvalue())

    def figures_left(self):
        """Shows figures left open, in their final state."""
        for figure in self.open_figures:
            self.figure(figure)
        self.open_figures.clear()


def watch_figures(display, is_ours):
    """Hooks pyplot, so that shown figures are reported; pyplot may already have been imported by the image."""
    finder = FigureFinder(display, is_ours)
    plt = sys.modules.get(PYPLOT)
    if plt is None:
        sys.meta_path.insert(0, finder)
    else:
        finder.patch(plt)


class FigureFinder:
    """Import hook that replaces pyplot's `show`, since there is no screen. Removes itself after its first use."""

    def __init__(self, display, is_ours):
        self.display = display
        self.is_ours = is_ours

    def find_spec(self, name, path=None, target=None):
        if name != PYPLOT:
            return None
        sys.meta_path[:] = [finder for finder in sys.meta_path if finder is not self]
        spec = next((found for found in (_found(finder, name, path) for finder in sys.meta_path) if found), None)
        if spec is not None and hasattr(spec.loader, "exec_module"):
            spec.loader = _Loader(spec.loader, self.patch)
        return spec

    def patch(self, plt):
        display, is_ours = self.display, self.is_ours
        helpers = sys.modules["matplotlib._pylab_helpers"].Gcf
        figures = sys.modules["matplotlib.figure"].Figure
        original = plt.show

        def show(*args, **kwargs):
            shown = [manager.canvas.figure for manager in helpers.get_all_fig_managers()]
            if not is_ours():
                return
            if kwargs.get("block", args[0] if args else None) is False:
                display.open_figures[:] = shown
                return
            display.open_figures[:] = [figure for figure in display.open_figures if figure not in shown]
            for figure in shown:
                display.figure(figure)
            plt.close("all")

        def show_one(self, warn=True):
            if is_ours():
                display.figure(self)

        show.__doc__ = original.__doc__
        show.__module__ = PYPLOT
        show_one.__name__ = show_one.__qualname__ = "show"
        plt.show = show
        figures.show = show_one


class _Loader:
    def __init__(self, loader, patch):
        self.loader = loader
        self.patch = patch

    def create_module(self, spec):
        return self.loader.create_module(spec)

    def exec_module(self, module):
        module.__loader__ = module.__spec__.loader = self.loader
        self.loader.exec_module(module)
        self.patch(module)


def _found(finder, name, path):
    find = getattr(finder, "find_spec", None)
    return find(name, path, None) if find else None


def _called(value, name):
    """Looks up the method on the class: an object with `__getattr__` answers to any name."""
    try:
        method = getattr(type(value), name, None)
        if not callable(method) or getattr(type(value), "_mayfly_has_no_such_method_", None) is not None:
            return None
        return method(value)
    except Exception:
        return None


def _is_type(kind):
    if type(kind) is not str or len(kind) > 100 or kind.count("/") != 1:
        return False
    first, second = kind.split("/")
    is_plain = first.replace("-", "").isalnum() and first[:1].isalpha() and len(first) <= 32
    return is_plain and second[:1].isalnum() and set(first + second) <= _letters and len(second) <= 64


def _json(form):
    import json

    try:
        return json.dumps(form)
    except (TypeError, ValueError, RecursionError):
        return None


def _decoded(form):
    try:
        return binascii.a2b_base64(form)
    except ValueError:
        return None
