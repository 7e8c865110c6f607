"""Literals read out of JavaScript that is never run."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.sites.config_files import UNKNOWN, setting
from lib.sites.javascript import read_object

FILE = "site.js"


def value(expression: str) -> object:
    return read_object(f"export default {{a: {expression}, end: 1}}", FILE).get("a")


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("'x'", "x"),
        ("'it\\'s'", UNKNOWN),
        ("`plain`", "plain"),
        ("`with ${name}`", UNKNOWN),
        ("`nested ${`inner ${`}`}`} end`", UNKNOWN),
        ("10", UNKNOWN),
        ("undefined", None),
        ("process.env.BASE_URL ?? '/'", "/"),
        ("process.env.BASE_URL || '/docs/'", "/docs/"),
        ("process.env.NODE_ENV === 'production' && '/p/'", "/p/"),
        ("!!process.env.NETLIFY && process.env.CONTEXT === 'x'", False),
        ("true ? '/p/' : '/d/'", UNKNOWN),
        ("!true", UNKNOWN),
        ("compute('x')", UNKNOWN),
        ("'a' + 'b'", UNKNOWN),
        ("['x', ...['y']]", ["x", UNKNOWN]),
        ("{b: {c: 'd'}}.b.c", UNKNOWN),
        ("{...other}.b", UNKNOWN),
        ("(('x'))", "x"),
        ("/re'gex[/]\\//.test('x') ? 1 : 2", UNKNOWN),
        ("({x: true} satisfies Options)", {"x": True}),
        ("'x' as const", "x"),
        ("(/* why */ 'x')", "x"),
        ("[/* none */]", []),
        ("a.b?.c", UNKNOWN),
        ("() => { return 'no' }", UNKNOWN),
        ("async function f() { return {a: 1} }", UNKNOWN),
        ("class { a = 'no' }", UNKNOWN),
        ("path.resolve(__dirname, '../docs')", UNKNOWN),
    ],
)
def test_values(expression: str, expected: object) -> None:
    assert value(expression) == expected


@pytest.mark.parametrize(
    "source",
    [
        "export default {baseUrl: '/x/'}",
        "module.exports = {baseUrl: '/x/'};",
        "const config: Config = {baseUrl: '/x/'};\nexport default config;",
        "const base = '/x/'\nconst config = {baseUrl: base}\nmodule.exports = config",
        "const baseUrl = '/x/'; export default {baseUrl}",
        "const shared = {baseUrl: '/x/'}; const c = {url: 'u', ...shared}; module.exports = c",
        "export default defineConfig({baseUrl: '/x/'})",
        "export default withMermaid(defineConfig<Theme>({baseUrl: '/x/'}))",
        "module.exports = async () => { return {baseUrl: '/x/', url: 'u'} }",
        "async function make() { return config }\nconst config = {baseUrl: '/x/'}\n"
        "module.exports = make",
        "// baseUrl\n/* export default {baseUrl: '/no/'} */ export default {baseUrl: '/x/'}",
        "const s = \"export default {baseUrl: '/no/'}\"; export default {baseUrl: '/x/'}",
        "const t = `export default {baseUrl: '/no/'} ${`//`}`; export default {baseUrl: '/x/'}",
        "const r = /[\"'`{]/g; export default {baseUrl: '/x/'}",
        "export default async function make() { const a = 1; return {baseUrl: '/x/'} }",
        "export default defineConfig(() => ({baseUrl: '/x/'}))",
        "export default {f(a, b) { return {baseUrl: '/no/'} }, g: (x) => ({baseUrl: '/no/'}), "
        "baseUrl: '/x/'}",
        "export default {'baseUrl': '/x/', [computed]: 1, get a() { return 2 }}",
        "export default {baseUrl: '/x/', nested: {baseUrl: '/no/'}} satisfies Config",
    ],
)
def test_one_configuration_in_many_shapes(source: str) -> None:
    assert read_object(source, FILE)["baseUrl"] == "/x/"


@pytest.mark.parametrize(
    "source",
    [
        "let b = '/a/'; b = '/b/'; export default {baseUrl: b}",
        "const b = b; export default {baseUrl: b}",
        "import {b} from './b'; export default {baseUrl: b}",
        "const b = require('./b'); export default {baseUrl: b.x}",
        "const c = {b: '/x/'}; c.b = '/y/'; export default {baseUrl: c.b}",
        "const {b} = {b: '/x/'}; export default {baseUrl: b}",
    ],
)
def test_what_only_running_would_tell_is_unknown(source: str) -> None:
    assert read_object(source, FILE)["baseUrl"] is UNKNOWN


@pytest.mark.parametrize(
    ("config", "url", "base"),
    [
        ("{url: 'u', ...shared(), baseUrl: '/x/'}", UNKNOWN, "/x/"),
        ("{...shared}", UNKNOWN, UNKNOWN),
        ("{...own, url: 'u'}", "u", "/o/"),
        ("{...(isCI() && {url: 'u'})}", UNKNOWN, UNKNOWN),
        ("mergeConfig({url: 'u'}, {baseUrl: '/x/'})", UNKNOWN, UNKNOWN),
        ("make({url: 'u'})", UNKNOWN, UNKNOWN),
        ("defineConfig(withTheme({url: 'u'}))", "u", None),
    ],
)
def test_values_that_a_spread_or_a_call_may_add(config: str, url: object, base: object) -> None:
    source = (
        f"import shared from './shared'\nconst own = {{baseUrl: '/o/'}}\nexport default {config}"
    )
    read = read_object(source, FILE)
    assert (setting(read, "url"), setting(read, "baseUrl")) == (url, base)


@pytest.mark.parametrize(
    "source",
    [
        "const other = {x: 1}; module.exports = make",
        "function make() { return make }; module.exports = make",
        "function make() { if (x) { return {a: 1} } }; module.exports = make",
        "module.exports = () => { const local = {a: 1}; return local }",
        "const config = {a: 1}",
    ],
)
def test_an_unknown_object_may_have_any_key(source: str) -> None:
    assert setting(read_object(source, FILE), "a") is UNKNOWN
    assert read_object("", FILE) == {}


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
    read_object(source, FILE)
    assert time.process_time() - started < 1


def test_a_configuration_that_is_too_large_is_unknown() -> None:
    names = "".join(f"const a{i} = [a{i + 1}, a{i + 1}];" for i in range(30))
    problems: list[str] = []
    read = read_object(f"{names}; export default {{a: a0, baseUrl: '/x/'}}", FILE, problems)
    assert setting(read, "baseUrl") is UNKNOWN
    (problem,) = problems
    assert problem.startswith("site.js: ")
    assert read_object("x" * 100_001, FILE, problems) == {}
    assert len(problems) == 2


@given(st.text(alphabet="{}[]()'\"`/*,:;.=>?!$ \\\nabaseUrlreturn export default", max_size=200))
def test_no_source_raises(source: str) -> None:
    assert isinstance(read_object(source, FILE), dict)
    assert isinstance(read_object("export default " + source, FILE), dict)
