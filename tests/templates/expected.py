"""Where Ondol's answer is not jinja2's, on purpose: the case's name, our answer, and why."""

DIFFERENT = {}
