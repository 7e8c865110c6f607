"""Literal values out of a JavaScript or TypeScript configuration, which is never run.

A small scanner, not an interpreter: it knows comments, strings, templates, regular expressions and
brackets well enough not to be fooled by them, and works out object and array literals, the names
they refer to, `process.env.X ?? "/"`, `isProd ? a : b` and the like. The environment counts as
empty but for `NODE_ENV=production`, as in a plain release build. What it cannot work out is
`UNKNOWN`, never a guess.
"""
