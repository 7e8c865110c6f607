"""Literals read out of JavaScript that is never run."""

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.sites.config_files import UNKNOWN, setting
from lib.sites.javascript import read_object
from tests.tiny_book import write_book

WANTED = ("baseUrl", "url")
FILE = Path("/nowhere/at/all/site.js")


def value(expression: str, before: str = "") -> object:
    return read_object(f"{before}\nexport default {{a: {expression}, end: 1}}", WANTED, FILE).get(
        "a"
    )


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("'x'", "x"),
        ('"a\\u0041\\x41\\u{1F600}\\n\\\'"', "aAA\U0001f600\n'"),
        ("`plain`", "plain"),
        ("`with ${name}`", UNKNOWN),
        ("`nested ${`inner ${`}`}`} end`", UNKNOWN),
        ("0x10", 16),
        ("0x" + "F" * 300, UNKNOWN),
        ("1_000", 1000.0),
        ("-2", -2.0),
        ("undefined", None),
        ("!0", True),
        ("!true", False),
        ("process.env.BASE_URL ?? '/'", "/"),
        ("process.env.BASE_URL || '/docs/'", "/docs/"),
        ("process.env.NODE_ENV === 'production' ? '/p/' : '/d/'", "/p/"),
        ("!!process.env.NETLIFY && process.env.CONTEXT === 'x'", False),
        ("isProd() ? '/p/' : '/d/'", UNKNOWN),
        ("compute('x')", UNKNOWN),
        ("'a' + 'b'", "ab"),
        ("'a' + name", UNKNOWN),
        ("[1, ...['x'], 'y']", [1.0, "x", "y"]),
        ("{b: {c: 'd'}}.b.c", "d"),
        ("(('x'))", "x"),
        ("/re'gex[/]\\//.test('x') ? 1 : 2", UNKNOWN),
        ("({x: 1} satisfies Options)", {"x": 1.0}),
        ("'x' as const", "x"),
        ("(/* why */ 'x')", "x"),
        ("[/* none */]", []),
        ("a.b?.c", UNKNOWN),
        ("[['x'], 'y'][0]", ["x"]),
        ("fileURLToPath(new URL('./src', import.meta.url))", "./src"),
        ("import.meta.env.BASE ?? 'x'", "x"),
        ("await {x: 1}", {"x": 1.0}),
        ("1n", UNKNOWN),
        ("() => { return 'no' }", UNKNOWN),
        ("async function f() { return {a: 1} }", UNKNOWN),
        ("class { a = 'no' }", UNKNOWN),
        ("path.resolve(__dirname, '../docs')", "./../docs"),
        ("require.resolve('./sidebars.js')", "./sidebars.js"),
    ],
)
def test_values(expression: str, expected: object) -> None:
    assert value(expression) == expected
    if expected is UNKNOWN:
        assert value(expression) is UNKNOWN


@pytest.mark.parametrize(
    "source",
    [
        "export default {baseUrl: '/x/'}",
        "module.exports = {baseUrl: '/x/'};",
        "const config: Config = {baseUrl: '/x/'};\nexport default config;",
        "const base = '/x/'\nconst config = {baseUrl: base}\nmodule.exports = config",
        "const baseUrl = '/x/'; export default {baseUrl}",
        "const c = {}; c.baseUrl = '/x/'; export default c",
        "const c = {...{baseUrl: '/y/'}, baseUrl: '/x/'}; module.exports = c",
        "export default defineConfig({baseUrl: '/x/'})",
        "export default withMermaid(defineConfig<Theme>({baseUrl: '/x/'}))",
        "module.exports = async () => { return {baseUrl: '/x/', url: 'u'} }",
        "async function make() { return config }\nconst config = {baseUrl: '/x/'}\n"
        "module.exports = make",
        "// baseUrl\n/* export default {baseUrl: '/no/'} */ export default {baseUrl: '/x/'}",
        "const s = \"export default {baseUrl: '/no/'}\"; export default {baseUrl: '/x/'}",
        "const t = `export default {baseUrl: '/no/'} ${`//`}`; export default {baseUrl: '/x/'}",
        "const r = /[\"'`{]/g; export default {baseUrl: '/x/'}",
        "export default {f(a, b) { return {baseUrl: '/no/'} }, g: (x) => ({baseUrl: '/no/'}), "
        "baseUrl: '/x/'}",
        "export default {'baseUrl': '/x/', [computed]: 1, get a() { return 2 }}",
        "export default {baseUrl: '/x/', nested: {baseUrl: '/no/'}} satisfies Config",
    ],
)
def test_one_configuration_in_many_shapes(source: str) -> None:
    assert read_object(source, WANTED, FILE)["baseUrl"] == "/x/"


@pytest.mark.parametrize(
    "source",
    [
        "let b = '/a/'; b = '/b/'; export default {baseUrl: b}",
        "const b = b; export default {baseUrl: b}",
        "import {b} from './b'; export default {baseUrl: b}",
        "const {b} = {b: '/x/'}; export default {baseUrl: b}",
    ],
)
def test_what_only_running_would_tell_is_unknown(source: str) -> None:
    assert read_object(source, WANTED, FILE)["baseUrl"] is UNKNOWN


MODULES = {
    "a.ts": "export const one = '1'; const two = '2'\nexport { two as deux }\n"
    "export default {x: one}",
    "b/index.mjs": "export { one, deux as d } from '../a'\nimport c from '../site'\nexport { c }",
    "data.json": '{"base": "/j/"}',
    "c.cjs": "module.exports = {x: '3'}",
    "loop.js": "import { b } from './loop2'\nexport const a = b",
    "loop2.js": "import { a } from './loop'\nexport const b = a",
    "../outside.js": "export const one = '1'",
}


@pytest.mark.parametrize(
    ("imports", "expression", "expected"),
    [
        ("import { one } from './a'", "one", "1"),
        ("import a, { one as un, deux } from './a.ts'", "un + deux + a.x", "121"),
        ("import * as a from './a'", "a.deux", "2"),
        ("import { one, d } from './b'", "[one, d]", ["1", "2"]),
        ("import data from './data.json' with { type: 'json' }", "data.base", "/j/"),
        ("const c = require('./c.cjs')", "c.x", "3"),
        ("import c from './c'", "c.x", "3"),
        ("import { none } from './a'", "none", UNKNOWN),
        ("import { one } from './none'", "one", UNKNOWN),
        ("import { a } from './loop'", "a", UNKNOWN),
        ("import { one } from '../outside'", "one", UNKNOWN),
        ("import { one } from 'a'", "one", UNKNOWN),
    ],
)
def test_imported_values(tmp_path: Path, imports: str, expression: str, expected: object) -> None:
    write_book(tmp_path / "site", MODULES)
    source = f"{imports}\nexport default {{a: {expression}}}"
    assert read_object(source, WANTED, tmp_path / "site/site.js")["a"] == expected


@pytest.mark.parametrize(
    ("config", "url", "base"),
    [
        ("{url: 'u', ...shared(), baseUrl: '/x/'}", UNKNOWN, "/x/"),
        ("{url: 'u', ...packaged, baseUrl: '/x/'}", "u", "/x/"),
        ("{...packaged}", None, None),
        ("{...packaged()}", None, None),
        ("{...shared()}", UNKNOWN, UNKNOWN),
        ("{...(undefined || {url: 'u'})}", "u", None),
        ("{...(isCI() && {url: 'u'})}", UNKNOWN, UNKNOWN),
        ("mergeConfig({url: 'u', a: {b: 1}}, {baseUrl: '/x/', a: {c: 1}})", "u", "/x/"),
        ("mergeConfig(shared(), {url: 'u'})", "u", UNKNOWN),
        ("Object.assign({}, {url: 'u'}, {url: 'v'})", "v", None),
    ],
)
def test_values_that_a_spread_or_a_merge_may_add(config: str, url: object, base: object) -> None:
    source = f"import packaged from 'theme/config'\nexport default {config}"
    read = read_object(source, WANTED, FILE)
    assert (setting(read, "url"), setting(read, "baseUrl")) == (url, base)


def test_the_files_of_a_configuration_share_its_limits(tmp_path: Path) -> None:
    count, source = 30, "export const x = '" + "x" * 1_000 + "'"
    names = [f"m{n}.js" for n in range(count)]
    write_book(
        tmp_path, {name: f"import './m{n + 1}.js'\n{source}" for n, name in enumerate(names)}
    )
    config = "".join(f"import {{x as x{n}}} from './m{n}'\n" for n in range(count))
    values = ", ".join(f"a{n}: x{n}" for n in range(count))
    read = read_object(f"{config} export default {{{values}}}", WANTED, tmp_path / "site.js")
    assert sum(value is not UNKNOWN for value in read.values()) == 20
    deep = {
        f"m{n}.js": f"import {{a}} from './m{n + 1}'\nexport const b = [a]\nexport const a = "
        + "[" * 40
        + "b"
        + "]" * 40
        for n in range(count)
    }
    write_book(tmp_path, deep)
    source = "import {b} from './m0'\nexport default {b}"
    assert "UNKNOWN" in repr(read_object(source, WANTED, tmp_path / "site.js"))


def test_an_object_without_the_wanted_keys_is_no_configuration() -> None:
    assert read_object("const other = {x: 1}; module.exports = make()", WANTED, FILE) == {}


@pytest.mark.parametrize(
    "source",
    [
        "export default " + "[" * 4_000,
        "export default " + "{a:" * 2_000,
        "export default " + "(" * 1_000 + ")" * 1_000,
        "export default {a: " + "!" * 4_000 + "1}",
        "export default {a: " + "1?" * 2_000,
        "export default {a: " + "`${" * 2_000,
        "const a = {" + "x: {return {" * 500 + "}}" * 500 + "}",
        "/*" * 4_000,
        "'" * 4_000,
        "/[" * 2_000,
        "/* " * 200,
        "'\\" * 2_000,
        "`${'\\" * 1_000,
        "a < " * 300,
        "".join(f"const a{i} = [a{i + 1}, a{i + 1}];" for i in range(100))
        + "export default {a: a0}",
        "".join(f"const a{i} = a{i + 1} + a{i + 1};" for i in range(90))
        + "const a90 = 'xx'; export default {a: a0}",
        "".join(f"const a{i} = join(a{i + 1}, a{i + 1});" for i in range(90))
        + "const a90 = 'xx'; export default {a: a0}",
        "".join(f"const a{i} = [...a{i + 1}, ...a{i + 1}];" for i in range(90))
        + "const a90 = ['xx']; export default {a: a0}",
        "const a = [" + "0," * 500 + "];export default {" + "x: [...a]," * 400 + "}",
        "const a = {" + "x: 0," * 300 + "};export default {" + "...a," * 400 + "}",
        "const a0 = 'xxxxxxxx'"
        + "".join(f";const a{i + 1} = a{i} + a{i}" for i in range(25))
        + ";export default {"
        + ",".join(f"b{i}: a25 + a10" for i in range(60))
        + "}",
        "".join(f"c{i} = {{}}; c{i}.x = 1;" for i in range(200)) + "export default c0",
        "export default a" + ".a" * 1_000,
        "x" * 2_200,
        "-`<;" * 1_000,
        "export default " + "[|aasync " * 200,
        "export default " + "{a:" * 300_000,
        "export default " + "[" * 800 + "]" * 800,
    ],
)
def test_hostile_sources_end_soon(source: str) -> None:
    started = time.process_time()
    read_object(source, WANTED, FILE)
    assert time.process_time() - started < 1


def test_what_is_too_large_is_unknown_and_the_rest_is_read() -> None:
    names = "".join(f"const a{i} = [a{i + 1}, a{i + 1}];" for i in range(30))
    problems: list[str] = []
    read = read_object(f"{names}; export default {{a: a0, baseUrl: '/x/'}}", WANTED, FILE, problems)
    assert read == {"a": UNKNOWN, "baseUrl": "/x/"}
    assert len(problems) == 1
    assert problems[0].startswith("site.js: a: ")
    assert len(repr(read)) < 100
    assert read_object("x" * 100_001, WANTED, FILE, problems) == {}
    assert len(problems) == 2


@given(st.text(alphabet="{}[]()'\"`/*,:;.=>?!$ \\\nabaseUrlreturn export default", max_size=200))
def test_no_source_raises(source: str) -> None:
    assert isinstance(read_object(source, WANTED, FILE), dict)
    assert isinstance(read_object("export default " + source, WANTED, FILE), dict)
