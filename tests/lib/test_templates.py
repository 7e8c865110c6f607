"""Tags of template languages. What a page shows was read from builds of Jekyll and Hugo."""

import time

import pytest

from lib.chunking import chunk_page
from lib.documents import Document
from lib.markdown import parse_page
from lib.markdown_page import Flavour, apply_edits, render
from tests.pages import words


def shown(text: str, flavour: Flavour) -> str:
    return "\n".join(filter(None, map(render, parse_page(text, flavour).blocks)))


@pytest.mark.parametrize(
    ("flavour", "text", "expected"),
    [
        ("liquid", "a\n{% comment %}\n## b\n{% endcomment %}\nc", "a\nc"),
        ("liquid", "a {% comment %}{% comment %}b{% endcomment %} c{%- endcomment -%} d", "a  d"),
        ("liquid", "a {% comment %}b", "a"),
        ("liquid", "a {% # b %}c", "a c"),
        ("liquid", "a\n{::comment}\nb\n{:/comment}\n\n{::nomarkdown}c{:/}", "a\nc"),
        ("liquid", "{% raw %}a {{ b }} {% c %}{% endraw %} {{ d }}e", "a {{ b }} {% c %} e"),
        ("liquid", "{% if false %}a{% if x %}b{% endif %}c{% else %}d{% endif %} e", "d e"),
        ("liquid", "{% if x %}a{% else %}b{% endif %}", "ab"),
        ("liquid", "- [a]({% link b.md %})\n- {{ c | d: '}' }}e", "- a\n- e"),
        ("liquid", "{% include f.html caption='a b' alt=page.x %}\nc", "a b\nc"),
        (
            "liquid",
            "{% highlight ruby linenos %}\n# a\n\n- b\n{% endhighlight %}\nc",
            "```ruby\n# a\n\n- b\n```\nc",
        ),
        ("liquid", "a {% highlight sh %}*b*{% endhighlight %} c", "a *b* c"),
        ("liquid", "a {% b {{ c", "a {% b {{ c"),
        ("liquid", "---\nrender_with_liquid: false\n---\n{% a %} {{ b }}", "{% a %} {{ b }}"),
        ("liquid", "# a {#b}", "a"),
        ("jinja", "a {# b\n# c #} d", "a\nd"),
        ("jinja", "---\nrender_macros: false\n---\n{{ a }}", "{{ a }}"),
        ("hugo", "a {{/* b */}}c", "a c"),
        ("hugo", "{{< comment >}}\n{{% comment %}}# a{{% /comment %}}\n{{< /comment >}}\nb", "b"),
        ("hugo", 'a {{</* b "c" */>}} {{%/* d */%}}', 'a {{< b "c" >}} {{% d %}}'),
        ("hugo", '{{< figure src="x.png" title="a \\"b" caption=`c` >}} d', 'a "b c  d'),
        ("hugo", '## a {{< badge "v2" >}}', "a"),
        ("hugo", 'a {{< b "}}>}}" >}} c', "a  c"),
        ("hugo", "{{< note >}}\n## a\n\nb\n---\n{{< /note >}}\nc", "a\nb\nc"),
        ("hugo", "{{% note %}}\n## a\n{{% /note %}}", "a"),
        (
            "hugo",
            "{{< tabs text=true >}}{{< tab header=A >}}\n*b*\n{{< /tab >}}{{< /tabs >}}",
            "A\nb",
        ),
        ("hugo", "{{< text bash >}}\n# a\n{{< /text >}}", "```bash\n# a\n```"),
        ("hugo", "{{% tab header=A %}}\n*b*\n{{% /tab %}}", "A\nb"),
        ("hugo", '{{< tab "Go" >}}\n*b*\n{{< /tab >}}', "Go\nb"),
        ("hugo", '{{< tab "A" >}}\n**b**\n{{< /tab >}}', "A\nb"),
        (
            "hugo",
            '{{< tabs >}} {{< tab header="A" lang="YAML" >}}\n---\na: b\n# c\n{{< /tab >}}',
            "A\n```yaml\n---\na: b\n# c\n```",
        ),
        (
            "hugo",
            "a\n{{% code file=x.toml %}}# b\nc{{% /code %}}",
            "a\nx.toml\n```toml\n# b\nc\n```",
        ),
        (
            "hugo",
            "- a\n  {{< highlight go >}}\n  # b\n  {{< /highlight >}}\n",
            "- a\n  ```go\n  # b\n  ```",
        ),
    ],
)
def test_what_a_page_shows(flavour: Flavour, text: str, expected: str) -> None:
    assert shown(text, flavour) == expected


def test_headings_of_the_page() -> None:
    text = "## A {{< b >}}\n{{< note >}}\n## C\n{{< /note >}}\n{{% note %}}\n## D\n{{% /note %}}\n"
    assert [heading.text for heading in parse_page(text, "hugo").headings] == ["A", "D"]
    text = "## A\n{% comment %}\n## B\n{% endcomment %}\n"
    assert [heading.text for heading in parse_page(text, "liquid").headings] == ["A"]


HIDDEN = {
    "prose": "## A\n\nOne.\n\n{% comment %}\n## B\n\nseven cups\n{% endcomment %}\n\nTwo.\n",
    "paragraph": "One {% comment %}seven cups{% endcomment %} two.\n",
    "list": "- one\n- two\n  {% comment %}seven cups{% endcomment %}\n- three\n",
    "code": "```\none\n{% comment %}seven cups{% endcomment %}\ntwo\n```\n",
    "table": "|a|b|\n|-|-|\n|c|d|\n{% comment %}seven cups{% endcomment %}\n",
    "two paragraphs": "One {% comment %}a\n\nseven cups{% endcomment %} two.\n",
    "nothing": "{% if false %}{% endif %}One.\n\n{% if false %}seven cups{% endif %}Two.\n",
    "title": "{% comment %}seven cups{% endcomment %}!!! tip\n\n    One.\n",
    "start": "{% comment %}seven cups{% endcomment %}\n## A\n\nOne.\n",
    "myst": "# A\n\nOne.\n\n%  seven cups\n\nTwo.\n",
    "todo": "%  x\n\n# A\n\nOne.\n\n```{todo}\nseven cups\n```\n\nTwo.\n",
    "only": "%  x\n\n# A\n\nOne.\n\n:::{only} internal\n## B\n\nseven cups\n:::\n\nTwo.\n",
    "sections": "## A\n\nOne.\n\n{% comment %}seven cups{% endcomment %}\n\n## B\n\nTwo.\n",
}


@pytest.mark.parametrize("text", HIDDEN.values(), ids=HIDDEN)
def test_no_chunk_contains_what_is_hidden(text: str) -> None:
    page = parse_page(text, "myst" if "%  " in text else "liquid")
    found = chunk_page(Document("a.md", text, ""), page, budget=60, count_tokens=words)
    assert found
    for chunk in found:
        assert "cups" not in chunk.text + chunk.embed_text
        assert chunk.text == text[chunk.start : chunk.end]


def test_many_comments_between_many_items() -> None:
    text = "- a\n\n  {% comment %}seven cups{% endcomment %}\n\n" * 600
    page = parse_page(text, "liquid")
    found = chunk_page(Document("a.md", text, ""), page, budget=3_000, count_tokens=words)
    assert len(found) == 600


def test_readers_see_no_tags() -> None:
    text = "A {{< code >}}*b*{{< /code >}} c.\n\n{{< figure title=\"D e\" caption='F' >}}\n\n"
    text += "{{< code lang=go >}}\n# g\nh\n{{< /code >}}\n"
    page = parse_page(text, "hugo")
    (chunk,) = chunk_page(Document("a.md", text, ""), page, budget=60, count_tokens=words)
    content = apply_edits(chunk.text, chunk.edits) + chunk.tail
    assert content.split("\n") == [
        "A `` *b* `` c.",
        "",
        "D e F ",
        "",
        "",
        "```go",
        "# g",
        "h",
        "```",
    ]


@pytest.mark.parametrize(
    ("flavour", "unit"),
    [
        ("liquid", "{% "),
        ("liquid", "{{ "),
        ("liquid", "{% comment %}"),
        ("liquid", "{% if false %}"),
        ("liquid", "{% raw %}"),
        ("liquid", "{% highlight x %}"),
        ("liquid", "{::comment}"),
        ("jinja", "{# "),
        ("hugo", "{{< a "),
        ("hugo", '{{< a "'),
        ("hugo", "{{< comment >}}\n"),
        ("hugo", "{{< note >}}\n"),
        ("hugo", "{{< code >}}\n\n"),
        ("hugo", '{{< tab "x" >}}'),
    ],
)
def test_hostile_tags_take_linear_time(flavour: Flavour, unit: str) -> None:
    name = unit.strip("{<%#>} \n").partition(" ")[0]
    close = f"{{{{< /{name} >}}}}" if flavour == "hugo" else f"{{% end{name} %}}"

    def seconds(size: int) -> float:
        text = unit * size + close * size
        started = time.process_time()
        parse_page(text, flavour)
        return time.process_time() - started

    seconds(10)
    assert seconds(1_200) < 6 * seconds(300) + 0.03
