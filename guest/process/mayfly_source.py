"""Static facts from the syntax tree: callers of `main`, use of `input`."""

import _ast

# Name for the value of the last expression; not a valid identifier, so no source can have it.
LAST = "<last>"
LINE_CHARS_MAX = 1024
PLAIN_FIRST = ("_", "(", "[", "{", "-", "'", '"')
LAMBDA_OR_DEF = (_ast.FunctionDef, _ast.AsyncFunctionDef, _ast.Lambda)


class Shape:
    def __init__(self, code, main, keeps_last, flags=0):
        """Compiles the source. Raises like `compile`."""
        code = code[1:] if code.startswith("\ufeff") else code
        tree = compile(code, main, "exec", _ast.PyCF_ONLY_AST | flags, dont_inherit=True)
        self.runs_itself = "main" in code and (_has_guard(tree) or _uses_main(tree))
        self.takes_input = "input" in code and _takes_input(tree)
        last = _last_of(tree) if keeps_last else None
        if last is None:
            self.code = compile(code, main, "exec", flags, dont_inherit=True)
        else:
            tree.body[-1] = _kept(last)
            self.code = compile(tree, main, "exec", flags, dont_inherit=True)


def expression(code, main, flags):
    """Compiles a line that is one expression, in a third of the time of a Shape, which builds a tree. None for any other
    source, and for one that may be compiled twice to another effect: escapes are warned of each time."""
    first = code[:1]
    if not (first.isalnum() or first in PLAIN_FIRST) or len(code) > LINE_CHARS_MAX:
        return None
    if "=" in code or "\\" in code or ";" in code or "await" in code or "\n" in code.rstrip() or "\r" in code:
        return None
    try:
        return compile(code, main, "eval", flags, dont_inherit=True)
    except Exception:
        return None


def calls_with_one(function):
    """True for a function with exactly one required value."""
    for _ in range(32):
        wrapped = getattr(function, "__dict__", {}).get("__wrapped__")
        if wrapped is None:
            break
        function = wrapped
    if not isinstance(function, type(calls_with_one)):
        return False
    code = function.__code__
    named = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    is_free = all(name in (function.__kwdefaults__ or {}) for name in named)
    return is_free and code.co_argcount - len(function.__defaults__ or ()) == 1


def takes_none(function):
    """True for a function without a parameter for a value."""
    code = getattr(function, "__code__", None)
    is_open = code is None or "__wrapped__" in function.__dict__ or code.co_flags & 0x04
    return not is_open and code.co_argcount == 0


def _walk(nodes, skips=()):
    """The nodes and all their descendants, in any order."""
    left = list(nodes)
    while left:
        node = left.pop()
        if node in skips:
            continue
        yield node
        for name in node._fields:
            value = getattr(node, name, None)
            below = value if isinstance(value, list) else [value]
            left.extend(one for one in below if isinstance(one, _ast.AST))


def _has_guard(tree):
    """True if the source has `if __name__ == "__main__":`."""
    ifs = (node for node in tree.body if isinstance(node, _ast.If))
    return any(isinstance(node, _ast.Name) and node.id == "__name__" for one in ifs for node in _walk([one.test]))


def _uses_main(tree):
    """True if `main` is called, or passed on, outside itself."""
    own = {node for node in tree.body if isinstance(node, LAMBDA_OR_DEF) and node.name == "main"}
    return any(
        isinstance(node, _ast.Name) and node.id == "main" and isinstance(node.ctx, _ast.Load)
        for node in _walk(tree.body, own)
    )


def _takes_input(tree):
    """True if `input` is read as the job's input: called, or passed on, it is Python's built-in."""
    is_read = False
    for node in _walk(tree.body):
        if isinstance(node, _ast.Call):
            called = [node.func]
            if isinstance(node.func, _ast.Name) and node.func.id in ("iter", "map", "callable", "partial"):
                called += node.args
            if any(isinstance(one, _ast.Name) and one.id == "input" for one in called):
                return False
        if isinstance(node, _ast.Name) and node.id == "input" and isinstance(node.ctx, _ast.Load):
            is_read = True
    return is_read


def _last_of(tree):
    """Last statement, if it is an expression; a multi-line string counts as a comment."""
    last = tree.body[-1] if tree.body else None
    if not isinstance(last, _ast.Expr):
        return None
    is_text = isinstance(last.value, _ast.Constant) and isinstance(last.value.value, str)
    return None if is_text and last.end_lineno > last.lineno else last


def _kept(last):
    at = {
        "lineno": last.lineno,
        "col_offset": last.col_offset,
        "end_lineno": last.end_lineno,
        "end_col_offset": last.end_col_offset,
    }
    return _ast.Assign(targets=[_ast.Name(id=LAST, ctx=_ast.Store(), **at)], value=last.value, **at)
