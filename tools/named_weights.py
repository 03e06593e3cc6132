"""Short names for weights, to tell them apart in tables and pictures."""


def named(weights, names=None, taken=()):
    """{name: weights}, each once; the ends of their paths, as long as it takes to be another's.

    Args:
        weights: list of str.
        names: optional list of str, one for each.
        taken: names that are another's.

    Raises:
        ValueError: other numbers of names than of weights, or the same name twice.
    """
    if names is not None:
        if len(names) != len(weights) or len(set(names)) < len(names):
            raise ValueError(
                f"--names is {len(weights)} different names, one for each of --weights. Received: "
                f"{','.join(names)!r}"
            )
        return dict(zip(names, weights, strict=True))
    found = {}
    for source in dict.fromkeys(weights):
        parts = source.rstrip("/").split("/")
        ends = ("/".join(parts[-count:]) for count in range(1, len(parts) + 1))
        found[next((end for end in ends if end not in {*found, *taken}), source)] = source
    return found
