"""What is masked before a question is stored, and what a technical question needs unmasked."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.masking import mask, masker

EMAILS = """\
john@example.com
John.Doe+list@sub.example.co.uk
o'brien@example.ie
x_y-z.w@ex-ample.museum
"john doe"@example.com
john@163.com
john＠example．com
𝐣𝐨𝐡𝐧@𝐞𝐱𝐚𝐦𝐩𝐥𝐞.𝐜𝐨𝐦
foo%40example.com
foo%2Bbar%40example%2Ecom
foo%2540example.com
john&#64;example&#46;com
john&#x40;example.com
john (at) example (dot) com
john[at]example.com
john [ AT ] example [ DOT ] com
john{at}example{dot}com
john(ät)web.de
john(a)example.com
john (@) example.com
john at example dot com
JOHN AT EXAMPLE DOT CO DOT UK
john@example dot com
john at gmail.com
john@gmail
john @ example.com
john@ example.com
john @gmail.com
john @example.com
john@@example.com
john@example .com
john dot doe at example dot com
björn@müller.de
почта@пример.рф
डाटा@डाटामेल.भारत
用户@例子.公司
用户@例子。公司
info@xn--e1afmkfd.xn--p1ai
""".splitlines()

NUMBERS = """\
+49 171 1234567
+49 (0)171/123 45 67
+41791234567
+1-555-0100
0049 171 1234567
(555) 123-4567
(555) 123.4567
(030) 12.34.56.78
+49 171.1234567
1.555.123.4567
555.123.4567
06 12 34 56 78
06.12.34.56.78
0171 - 123 45 67
0171/1234567
0 1 7 1 1 2 3 4 5 6 7
4111 1111 1111 1111
4111-1111-1111-1111
4111111111111111
3782 822463 10005
123-45-6789
5551234000
72345-91234
123.456.789-09
12.345.678/0001-95
756.1234.5678.97
19850312-1234
120385-1234
1234 5678 9012
１２３４－５６７８－９０１２
٠١٧١ ١٢٣ ٤٥٦٧
९८७६५४३२१०
𝟎𝟏𝟕𝟏𝟏𝟐𝟑𝟒𝟓𝟔𝟕
①②③④⑤⑥⑦⑧
1\ufe0f\u20e32\ufe0f\u20e33\ufe0f\u20e34\ufe0f\u20e35\ufe0f\u20e36\ufe0f\u20e37\ufe0f\u20e38\ufe0f\u20e3
""".splitlines()

KEYS = [
    "sk-abcdef12",
    "sk-proj-AbCdEf_123-456",
    "sk_live_abcdefghij0123456789",
    "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
    "github_pat_11ABCDEFG0abcdefghijkl",
    "AKIAIOSFODNN7EXAMPLE123",
    "xoxb-123456789012-abcdef",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P",
    "Bearer abcdef0123456789xyz==",
    "d41d8cd98f00b204e9800998ecf8427e",
    "Zr3-kQ_8vYbT1mWcXo5uJ9-eHgLp2sNa_7dFiRtAqBk",
]

TECHNICAL = """\
1.18.3
v1.18.3-beta.20241128
python 3.11.10 and 3.12.1
5.15.0-91-generic
(1) 192.168.100.200
120.0.6099.129
10.0.22631.4317
v0.0.0-20241128103000-abcdef
2024.11.28.1
2026-11-28
28.11.2026
11/28/2026
2026-11-28T10:30:00Z
2026-11-28 10:30:05.123456
2026-11-01/2026-11-28
20261128
20261128T103000Z
20261128103000
12:30:45
port 65536
8000-9000
49152–65535
1984
2019 2020 2021
2020-2026
500-2024-11-26
Node 14 / 16 / 18 / 20
1000-1000000000
max-age=31536000
86400000
127.0.0.1
192.168.100.200:8080
10.0.0.0/8
3.14159265358979
10,000,000
10 000 000
10.000.000
10000000
1_000_000_000
2147483647
4294967296
18446744073709551615
256 * 1024 * 1024
0x80070005
0xDEADBEEF12345678
E1234567
KB5034441
CVE-2024-123456
RFC 9110
ISO 8601-1:2019
#123456
#ff8800
1,2,3,4,5,6,7,8
@decorator
use @app.route("/") here
curl -d @request.md
either (a) mkdocs.yml or (b) conf.py
A @ B.T
vite@5.4.1
vite@5.0.0-beta.rc
@docusaurus/core@3.5
react@next
actions/checkout@v4
image@sha256:abcdef
https://unpkg.com/react@18.2.0/umd/react.js
https://cdn.example/vue@3.js
logo@2x.png
git@github.com:org/repo.git
root@server
documented at example.com
the dot com era
Look at the dot.
sk-learn
skateboarding-around-the-world
how-do-i-configure-the-proxy-with-2-hosts-in-2024-and-2025
Getting-Started-with-Docker-Compose-and-Nginx-v2
TEST_THAT_UTF8_STRINGS_ARE_ESCAPED_IN_VERSION_2024
How do I send a bearer token?
bearer authentication-for-everyone
[email], [number] and [redacted]
""".splitlines()


@pytest.mark.parametrize(
    ("marker", "text"),
    [("[email]", each) for each in EMAILS]
    + [("[number]", each) for each in NUMBERS]
    + [("[redacted]", each) for each in KEYS],
)
def test_personal_data_is_masked_whole(marker: str, text: str) -> None:
    assert mask(text) == marker
    assert mask(f"I am {text}, and you?") == f"I am {marker}, and you?"
    assert mask(f"¿Qué? <{text}>") == f"¿Qué? <{marker}>"
    assert mask(f"{text}\n{text}") == f"{marker}\n{marker}"


@pytest.mark.parametrize("text", TECHNICAL)
def test_technical_text_stays(text: str) -> None:
    assert mask(text) == text
    assert mask(f"What is {text}?") == f"What is {text}?"
    assert mask(f"何为“{text}”？") == f"何为“{text}”？"


@pytest.mark.parametrize(
    "hidden",
    [
        "\u200b",
        "\u200d",
        "\u2060",
        "\ufeff",
        "\xad",
        "\u202e",
        "\u2066",
        "\u0336",
        "\u3164",
        "\x01",
    ],
)
def test_invisible_characters_hide_nothing(hidden: str) -> None:
    for text in ("john@example.com", "0171 1234567", "4111111111111111"):
        assert mask(hidden.join(text)) in ("[email]", "[number]")


@pytest.mark.parametrize("space", ["\xa0", "\u2007", "\u2009", "\u202f", "\u3000", "\t"])
@pytest.mark.parametrize("dash", ["-", "\u2010", "\u2011", "\u2013", "\u2212", "\uff0d"])
def test_any_space_or_dash_separates_groups(space: str, dash: str) -> None:
    assert mask(f"0171{space}123{dash}4567") == "[number]"


def test_what_is_around_stays_as_it_is() -> None:
    """Also characters that the search does not see."""
    text = "👩\u200d💻 é e\u0301 ﬁ Ⅷ １２ %40 (at) خ\u200cو "
    assert mask(text) == text
    assert mask(f"{text}john@example.com{text}12345678") == f"{text}[email]{text}[number]"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("mailto:john@example.com?subject=x", "mailto:[email]?subject=x"),
        ("https://user:secret@example.com/x", "https://user:[email]/x"),
        ("联系我foo@bar.com谢谢", "联系我[email]谢谢"),
        ("我的邮箱是foo@example.com。谢谢", "我的邮箱是[email]。谢谢"),
        ("_john@example.com_", "[email]_"),
        ("'john@example.com'", "'[email]'"),
        ("a@example.com;b@example.com", "[email];[email]"),
        ("@john@mastodon.social", "@[email]"),
        ("ab12345678", "ab[number]"),
        ("DE89 3702 0044 0532 0130 00", "DE[number]"),
        ("GB82WEST12345698765432", "GB82WEST[number]"),
        ("(12345678)", "([number])"),
        ("2026-11-28 0171 1234567", "2026-11-28 [number]"),
        ("1.18.3 0171 1234567", "1.18.3 [number]"),
        ("12345678901234567890" * 50, "[number]"),
    ],
)
def test_no_more_is_masked_than_needed(text: str, masked: str) -> None:
    assert mask(text) == masked


def test_configured_keys_are_masked_whatever_they_look_like() -> None:
    masked = masker({"short-key", "short-key-and-more", "abc"})
    assert masked("short-key-and-more, short-key, abc") == "[redacted], [redacted], abc"
    assert masked("john@example.com") == "[email]"


MARKS = [
    "\u200b",
    "ü",
    "世",
    "１",
    "٣",
    "＠",
    "。",
    " at ",
    " dot ",
    "(at)",
    *"aA1 09.,-+()/@%[]<\n\t",
]
PIECES = st.sampled_from([*MARKS, *EMAILS, *NUMBERS, *KEYS, *TECHNICAL])


@given(st.lists(PIECES | st.text(max_size=3), max_size=12).map(" ".join))
def test_masking_twice_changes_nothing_more(text: str) -> None:
    once = mask(text)
    assert mask(once) == once
    assert not re.search(r"\d{21}|\w@example\.com", once)


UNITS = [*'a1.(+"', "1 ", "a@", "a@b.", "%40", "(at)", "( ", "世", "\u0301", "1.1-", "0x", "CVE-"]
UNITS += [
    "a at ",
    "a dot ",
    "< @ ",
    "A1",
    "eyJ",
    "sk-",
    "bearer ",
    "&#0",
    "1.18.3 ",
    "a.",
    "a@bb.c.",
]


@pytest.mark.parametrize("unit", UNITS)
def test_masking_takes_linear_time(unit: str) -> None:
    def seconds(length: int) -> float:
        text = unit * (length // len(unit))
        took = []
        for _ in range(3):
            began = time.process_time()
            mask(text)
            took.append(time.process_time() - began)
        return min(took)

    assert seconds(20_000) < 12 * seconds(4_000) + 0.01
