def render(title, data):
    return "\n".join([title, "-" * len(title)] + [f"{k}: {v}" for k, v in data.items()])
