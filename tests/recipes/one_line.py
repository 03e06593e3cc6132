"""What every error of a recipe looks like."""


def assert_one_line(outcome, name, *parts):
    lines = [line for line in outcome.err.splitlines() if line.startswith(f"{name}: error: ")]
    assert outcome.status not in (0, None), outcome
    assert len(lines) == 1, outcome.err
    assert outcome.err.splitlines()[-1] == lines[0]
    assert "Traceback" not in outcome.err
    for part in parts:
        assert part in lines[0], (part, lines[0])
