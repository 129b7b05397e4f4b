"""Holds Ondol's chat templates against jinja2, set up as `transformers` sets it up.

    python compare.py RENDERER [FOLDER]

RENDERER is `models/examples/render.rs`, built; FOLDER holds published templates (`*.jinja`).
`cargo xtask templates` fetches both. Each case must have the same text from both, or an
error from both; `expected.py` lists what differs on purpose, and must be exact.
"""

import datetime
import functools
import json
import pathlib
import subprocess
import sys

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment

import cases
import conversations
import expected


class GenerationTag(jinja2.ext.Extension):
    """`{% generation %}` renders its body; `transformers` also notes where it stands."""

    tags = {"generation"}

    def parse(self, parser):
        line = parser.stream.current.lineno
        next(parser.stream)
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        call = self.call_method("render_body", lineno=line)
        return jinja2.nodes.CallBlock(call, [], [], body, lineno=line)

    def render_body(self, caller):
        return caller()


def environment():
    made = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[GenerationTag, jinja2.ext.loopcontrols]
    )

    def raise_exception(message):
        raise jinja2.TemplateError(message)

    def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(
            value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
        )

    start = datetime.datetime(1970, 1, 1)
    made.filters["tojson"] = tojson
    made.globals.update(raise_exception=raise_exception, strftime_now=start.strftime)
    return made


ENVIRONMENT = environment()


compiled = functools.cache(ENVIRONMENT.from_string)  # Compiling takes far longer than rendering.


def reference(case):
    try:
        template = compiled(case["template"])
        return {"ok": template.render(**case["variables"])}
    except Exception as error:  # Whatever a template raises is its answer.
        return {"err": f"{type(error).__name__}: {error}"}


def own_cases():
    base = {"tools": None, "documents": None, "messages": [], "bos_token": "<s>", "eos_token": "</s>"}
    variables = {**base, "add_generation_prompt": True, **cases.VARIABLES}
    for source in cases.EXPRESSIONS:
        yield {"name": source, "template": "{{ " + source + " }}", "variables": variables}
    for source in cases.TEMPLATES:
        yield {"name": source, "template": source, "variables": variables}


def published_cases(folder):
    """Messages and tools are set by the template, since Ondol's own types shape them otherwise."""
    paths = sorted(pathlib.Path(folder).rglob("*.jinja"))
    for path in paths:
        source = path.read_text(encoding="utf-8")
        for name, variables in conversations.all():
            given = dict(variables, given_messages=variables["messages"], given_tools=variables["tools"])
            setup = "{% set messages = given_messages %}{% set tools = given_tools %}"
            yield {"name": f"{path.stem}: {name}", "template": setup + source, "variables": given}


def ondol(renderer, wanted):
    lines = "\n".join(json.dumps({"template": c["template"], "variables": c["variables"]}) for c in wanted)
    done = subprocess.run([renderer], input=lines.encode(), stdout=subprocess.PIPE, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]  # Of bytes: at line feeds alone.


def same(ours, theirs):
    return ours.get("ok") == theirs.get("ok")


def differs_as_expected(name, ours, theirs):
    for _, answers in expected.GROUPS:
        if name in answers:
            return answers[name] == ours.get("ok")
    error, _ = expected.LAX.get(name.partition(": ")[0], (None, None))
    return error is not None and error in theirs.get("err", "")


def main():
    renderer, *folders = sys.argv[1:]
    wanted = list(own_cases())
    for folder in folders:
        wanted += published_cases(folder)
    answers = ondol(renderer, wanted)
    if len(answers) != len(wanted):
        sys.exit(f"{len(answers)} answers to {len(wanted)} cases")
    failed, as_expected, errors = 0, set(), 0
    for case, ours in zip(wanted, answers):
        theirs, name = reference(case), case["name"]
        errors += "err" in theirs
        if same(ours, theirs):
            continue
        if differs_as_expected(name, ours, theirs):
            as_expected.add(name)
            continue
        failed += 1
        print(f"DIFFERS {name!r}\n  jinja2 {theirs}\n  ondol  {ours}")
    for name in {name for _, answers in expected.GROUPS for name in answers} - as_expected:
        failed += 1
        print(f"IN expected.py, BUT NOT AS IT SAYS: {name!r}")
    count = len(wanted)
    print(f"{count} cases ({errors} are errors in jinja2), {len(as_expected)} differ as expected, {failed} otherwise")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
